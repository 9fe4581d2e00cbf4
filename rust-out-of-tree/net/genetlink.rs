// SPDX-License-Identifier: GPL-2.0

//! Generic netlink families: requests, dumps, attributes, replies.
//!
//! A [`Family`] is a static that is active while its [`Registration`] exists. Each of its
//! [`SmallOp`]s is a command, with a [`DoIt`] type, a [`DumpIt`] type, or both.
//!
//! The kernel's parser checks attributes against a policy with liberal validation: unknown
//! attributes are skipped and long ones are truncated, as for families older than strict
//! validation.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)
//!
//! # Relation to `kernel::net::netlink`
//!
//! In 7.3 that module only supports families that send to multicast groups. Its `Family` has no
//! operations, and its messages cannot be replies or parts of a dump.
//!
//! # Not supported
//!
//! Multicast groups, user headers, strict validation, `start` and `done` of a dump.

use super::{
    namespace::Net,
    netlink::{Attr, AttrPolicy, Attrs, Writer}, //
};
use crate::oot::bindings;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_long, c_void},
    prelude::*,
    types::Opaque, //
};

/// The `doit` function of a command.
pub(crate) trait DoIt: 'static {
    /// Handles `request`. An error is returned to the sender in the acknowledgement.
    ///
    /// # Errors
    ///
    /// Any errno of the command.
    fn doit(request: &Request<'_>) -> Result;
}

/// The `dumpit` function of a command.
pub(crate) trait DumpIt: 'static {
    /// Adds the next messages to `dump`, as many as fit.
    ///
    /// # Errors
    ///
    /// Any errno of the command; it ends the dump.
    fn dumpit(dump: &mut Dump<'_>) -> Result<Progress>;
}

/// The progress of a dump.
#[derive(Clone, Copy)]
pub(crate) enum Progress {
    /// More messages are left.
    Part,
    /// The dump is complete: its end is sent with the last messages, not separately.
    All,
}

/// A request, as passed to a [`DoIt`] function.
///
/// # Invariants
///
/// The reference is to the `genl_info` that the core passes to a `doit` function, valid for `'a`.
/// Its `attrs` points to a table with an entry for each attribute up to the family's `maxattr`.
pub(crate) struct Request<'a>(&'a bindings::genl_info);

impl<'a> Request<'a> {
    /// The command of the request.
    pub(crate) fn cmd(&self) -> u8 {
        // SAFETY: By the type invariants, `genlhdr` points to the header of the request.
        unsafe { (*self.0.genlhdr).cmd }
    }

    /// The network namespace of the socket that sent the request.
    pub(crate) fn net(&self) -> &'a Net {
        net(self.0)
    }

    /// Returns the attribute of type `attrtype`, if present. The last one counts if it is repeated.
    pub(crate) fn attr(&self, attrtype: usize) -> Option<Attr<'a>> {
        // SAFETY: By the type invariants, `family` is the registered family of the request.
        let maxattr = unsafe { (*self.0.family).maxattr };
        if attrtype > maxattr as usize {
            return None;
        }
        // SAFETY: By the type invariants, the table has an entry for each type up to `maxattr`.
        let attr = unsafe { *self.0.attrs.add(attrtype) };
        // SAFETY: The core checked that the attributes in the table lie within the request.
        unsafe { Attr::from_raw(attr) }
    }

    /// Parses the attributes nested in `attr`. Errors are also reported in the extended
    /// acknowledgement.
    ///
    /// # Errors
    ///
    /// `EINVAL`, or another error of `__nla_parse()`, if they do not follow the policy.
    pub(crate) fn nested<const N: usize>(
        &self,
        attr: Attr<'a>,
        policy: &'static [AttrPolicy; N],
    ) -> Result<Attrs<'a, N>> {
        // SAFETY: By the type invariants, `extack` is null or valid during the request.
        unsafe { Attrs::parse_nested(attr, policy, self.0.extack) }
    }

    /// Starts a reply with the command `cmd`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`: no memory.
    /// - `EMSGSIZE`: the header does not fit.
    pub(crate) fn reply(&self, cmd: u8) -> Result<Reply<'a>> {
        let size = bindings::GENLMSG_DEFAULT_SIZE;
        // SAFETY: Any size and flags are valid.
        let skb = unsafe { bindings::genlmsg_new(size, bindings::GFP_KERNEL) };
        // INVARIANT: The buffer was just allocated, and `hdr` is not used before it is set.
        let mut reply = Reply {
            info: self.0,
            skb: NonNull::new(skb).ok_or(ENOMEM)?,
            hdr: core::ptr::null_mut(),
            writer: Writer::new(),
        };
        let Self(info) = self;
        // SAFETY: `skb` was just allocated, and the family of the request is registered.
        reply.hdr = unsafe {
            bindings::genlmsg_put(skb, info.snd_portid, info.snd_seq, info.family, 0, cmd)
        };
        if reply.hdr.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariants, we own the buffer.
        unsafe { reply.writer.start(reply.skb) };
        Ok(reply)
    }
}

/// Returns the network namespace of the socket that sent the request.
fn net(info: &bindings::genl_info) -> &Net {
    // SAFETY: The core has set the namespace.
    let net = unsafe { bindings::oot_genl_info_net(info) };
    // SAFETY: The socket of the request is valid as long as `info`, and holds its namespace.
    unsafe { Net::from_raw(net) }
}

/// A reply under construction. Dropping it discards it.
///
/// # Invariants
///
/// `skb` is an owned buffer, and `hdr` is the header of the message in it.
pub(crate) struct Reply<'a> {
    info: &'a bindings::genl_info,
    skb: NonNull<bindings::sk_buff>,
    hdr: *mut c_void,
    writer: Writer,
}

impl Reply<'_> {
    /// Returns the writer for the attributes.
    pub(crate) fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Sends the reply to the socket that sent the request.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the attributes do not fit, or the error of `genlmsg_reply()`.
    pub(crate) fn send(self) -> Result {
        // SAFETY: By the type invariants, we own the buffer.
        unsafe { self.writer.append_to(self.skb)? };
        let reply = ManuallyDrop::new(self);
        let skb = reply.skb.as_ptr();
        let info = core::ptr::from_ref(reply.info).cast_mut();
        // SAFETY: By the type invariants, `hdr` is the header of the message in `skb`.
        unsafe { bindings::genlmsg_end(skb, reply.hdr) };
        // SAFETY: `info` is valid and only read. `skb` is not dropped here, so the call takes it
        // over.
        to_result(unsafe { bindings::oot_genlmsg_reply(skb, info) })
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, we own the buffer.
        unsafe { bindings::nlmsg_free(self.skb.as_ptr()) };
    }
}

/// A dump in progress, as passed to a [`DumpIt`] function.
///
/// # Invariants
///
/// `skb` and `cb` are those that the core passes to a `dumpit` function, valid for `'a`, and `info`
/// belongs to that dump.
pub(crate) struct Dump<'a> {
    skb: NonNull<bindings::sk_buff>,
    cb: &'a mut bindings::netlink_callback,
    info: &'a bindings::genl_info,
    writer: Writer,
}

impl<'a> Dump<'a> {
    /// The network namespace of the socket that requested the dump.
    pub(crate) fn net(&self) -> &'a Net {
        net(self.info)
    }

    /// State that is kept between the calls of a dump; all 0 in the first call.
    pub(crate) fn cursor(&mut self) -> &mut [c_long; 6] {
        // SAFETY: All members of the union are integers, so any value is valid.
        unsafe { &mut self.cb.__bindgen_anon_1.args }
    }

    /// Parses the attributes of the dump request.
    ///
    /// # Errors
    ///
    /// `EINVAL`, or another error of `nlmsg_parse_deprecated()`, if they do not follow the policy.
    pub(crate) fn attrs<const N: usize>(
        &self,
        policy: &'static [AttrPolicy; N],
    ) -> Result<Attrs<'a, N>> {
        let mut attrs = Attrs::new();
        // SAFETY: By the type invariants, `nlh` is the whole, checked message of the request, and
        // `extack` is null or valid. The table and the policy have an entry for each type up to
        // `MAXTYPE`.
        to_result(unsafe {
            bindings::oot_nlmsg_parse_deprecated(
                self.cb.nlh,
                size_of::<bindings::genlmsghdr>() as c_int,
                attrs.as_mut_ptr(),
                Attrs::<'a, N>::MAXTYPE,
                AttrPolicy::as_raw(policy),
                self.cb.extack,
            )
        })?;
        Ok(attrs)
    }

    /// Adds a message with the command `cmd` and the attributes that `fill` writes.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the message does not fit, or the error of `fill`. No message is added then.
    pub(crate) fn message(&mut self, cmd: u8, fill: impl FnOnce(&mut Writer) -> Result) -> Result {
        let (skb, info) = (self.skb.as_ptr(), self.info);
        let flags = bindings::NLM_F_MULTI as c_int;
        // SAFETY: By the type invariants, `skb` is valid; the family is registered.
        let hdr = unsafe {
            bindings::genlmsg_put(skb, info.snd_portid, info.snd_seq, info.family, flags, cmd)
        };
        if hdr.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariants, `skb` is valid.
        unsafe { self.writer.start(self.skb) };
        // SAFETY: By the type invariants, `skb` is valid, and borrowed with `self`.
        let put = fill(&mut self.writer).and_then(|()| unsafe { self.writer.append_to(self.skb) });
        match put {
            // SAFETY: `hdr` is the header of the last message in `skb`.
            Ok(()) => unsafe { bindings::genlmsg_end(skb, hdr) },
            // SAFETY: `hdr` is the header of the last message in `skb`, which is valid.
            Err(_) => unsafe { bindings::genlmsg_cancel(skb, hdr) },
        }
        put
    }
}

/// The C functions for a [`DoIt`] or [`DumpIt`].
struct Adapter<T>(PhantomData<T>);

impl<T: DoIt> Adapter<T> {
    /// # Safety
    ///
    /// To be called only by the generic netlink core, as the `doit` of an operation.
    unsafe extern "C" fn doit(
        _skb: *mut bindings::sk_buff,
        info: *mut bindings::genl_info,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a valid `info`, which does not change during the call.
            let info = unsafe { &*info };
            // INVARIANT: The core passed the info. Each of our families has a policy, so the core
            // made the table of attributes.
            T::doit(&Request(info))?;
            Ok(0)
        })
    }
}

impl<T: DumpIt> Adapter<T> {
    /// # Safety
    ///
    /// To be called only by the generic netlink core, as the `dumpit` of an operation.
    unsafe extern "C" fn dumpit(
        skb: *mut bindings::sk_buff,
        cb: *mut bindings::netlink_callback,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a valid `cb`, and no other code uses it during the call.
            let cb = unsafe { &mut *cb };
            let skb = NonNull::new(skb).ok_or(EINVAL)?;
            // SAFETY: The core passes the `cb` of a dump of a generic netlink family.
            let info = unsafe { bindings::oot_genl_info_dump(cb) };
            // SAFETY: The info is valid for the whole dump, and does not change meanwhile.
            let info = unsafe { &*info };
            // INVARIANT: The core passed all of these.
            let writer = Writer::new();
            let mut dump = Dump {
                skb,
                cb,
                info,
                writer,
            };
            match T::dumpit(&mut dump)? {
                // SAFETY: `skb` is still valid.
                Progress::Part => Ok(unsafe { (*skb.as_ptr()).len } as c_int),
                Progress::All => Ok(0),
            }
        })
    }
}

/// A command of a family and its functions.
#[repr(transparent)]
pub(crate) struct SmallOp(bindings::genl_small_ops);

// SAFETY: The value is never changed.
unsafe impl Sync for SmallOp {}

impl SmallOp {
    /// Creates a command with liberal validation. It requires `CAP_NET_ADMIN` in the initial user
    /// namespace (`GENL_ADMIN_PERM`).
    pub(crate) const fn admin(cmd: u8) -> Self {
        Self(bindings::genl_small_ops {
            doit: None,
            dumpit: None,
            cmd,
            internal_flags: 0,
            flags: bindings::GENL_ADMIN_PERM as u8,
            validate: (bindings::genl_validate_flags_GENL_DONT_VALIDATE_STRICT
                | bindings::genl_validate_flags_GENL_DONT_VALIDATE_DUMP)
                as u8,
        })
    }

    /// Sets the `doit` function.
    pub(crate) const fn doit<T: DoIt>(mut self) -> Self {
        self.0.doit = Some(Adapter::<T>::doit);
        self
    }

    /// Sets the `dumpit` function.
    pub(crate) const fn dumpit<T: DumpIt>(mut self) -> Self {
        self.0.dumpit = Some(Adapter::<T>::dumpit);
        self
    }
}

/// A generic netlink family that works in every network namespace and handles requests in parallel.
#[repr(transparent)]
pub(crate) struct Family(Opaque<bindings::genl_family>);

// SAFETY: Only the core changes the value, under its own lock.
unsafe impl Sync for Family {}

impl Family {
    /// `netnsok` and `parallel_ops`, the first two bits of the bit field. On big-endian machines C
    /// allocates bits from the most significant one.
    const FLAGS: u8 = if cfg!(target_endian = "big") {
        0b1100_0000
    } else {
        0b0000_0011
    };

    /// Creates the family `name`, for use in a static.
    ///
    /// Commands below `resv_start_op` accept flags and header fields that newer families reject.
    pub(crate) const fn new<const N: usize>(
        module: &ThisModule,
        name: &CStr,
        version: u32,
        policy: &'static [AttrPolicy; N],
        ops: &'static [SmallOp],
        resv_start_op: u8,
    ) -> Self {
        let mut family = bindings::genl_family {
            version,
            maxattr: Attrs::<'static, N>::MAXTYPE as u32,
            policy: AttrPolicy::as_raw(policy),
            _bitfield_1: kernel::bindings::__BindgenBitfieldUnit::new([Self::FLAGS]),
            module: module.as_ptr(),
            small_ops: ops.as_ptr().cast(),
            n_small_ops: ops.len() as u8,
            resv_start_op,
            ..pin_init::zeroed()
        };
        let name = name.to_bytes_with_nul();
        assert!(name.len() <= family.name.len() && ops.len() <= u8::MAX as usize);
        let mut i = 0;
        while i < name.len() {
            family.name[i] = name[i];
            i += 1;
        }
        Self(Opaque::new(family))
    }

    /// Registers the family.
    ///
    /// # Errors
    ///
    /// `EEXIST` if a family of this name exists; `ENOMEM`; or another error of
    /// `genl_register_family()`.
    pub(crate) fn register(&'static self) -> Result<Registration> {
        // SAFETY: The family is a static that `new()` made from statics.
        to_result(unsafe { bindings::genl_register_family(self.0.get()) })?;
        // INVARIANT: The family was just registered.
        Ok(Registration(self))
    }
}

/// The registration of a [`Family`]. Dropping it unregisters the family and waits for requests in
/// progress.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its functions are module code: the module must not be unloaded then.
///
/// # Invariants
///
/// The family is registered.
pub(crate) struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the family is registered.
        unsafe { bindings::genl_unregister_family(self.0 .0.get()) };
    }
}
