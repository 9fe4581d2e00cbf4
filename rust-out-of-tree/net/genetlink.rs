// SPDX-License-Identifier: GPL-2.0

//! Generic netlink families: requests, dumps, attributes, replies.
//!
//! A [`Family`] is a static; it is served while its [`Registration`] lives. Each of its
//! [`SmallOp`]s names a type with the [`DoIt`] function and one with the [`DumpIt`] function of its
//! command.
//!
//! Attributes are parsed by the kernel's own parser against a policy, "liberally": unknown ones are
//! skipped and longer ones are cut, as families did from before strict checking.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)
//!
//! # Beside `kernel::net::netlink`
//!
//! In 7.3 that is for families that do nothing but send to multicast groups: its `Family` cannot have
//! operations, and its messages can be multicast, but not be a reply or part of a dump.
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

/// Serves the requests of a command.
pub(crate) trait DoIt: 'static {
    /// Carries out `request`; an error is sent as its acknowledgement.
    fn doit(request: &Request<'_>) -> Result;
}

/// Serves the dumps of a command.
pub(crate) trait DumpIt: 'static {
    /// Adds the next messages of `dump`, as many as there is room for.
    fn dumpit(dump: &mut Dump<'_>) -> Result<Progress>;
}

/// How far a dump has come.
#[derive(Clone, Copy)]
pub(crate) enum Progress {
    /// There is more than there was room for.
    Part,
    /// Nothing is left: the end of the dump is sent with its last messages, not on its own.
    All,
}

/// A request, as its [`DoIt`] function gets it.
///
/// # Invariants
///
/// The information is the one that the core passes to a `doit` function, valid for `'a`; its `attrs`
/// points at a table with an entry for each attribute up to the family's `maxattr`.
pub(crate) struct Request<'a>(&'a bindings::genl_info);

impl<'a> Request<'a> {
    /// The command of the request.
    pub(crate) fn cmd(&self) -> u8 {
        // SAFETY: By the type invariants, `genlhdr` points at the header of the request.
        unsafe { (*self.0.genlhdr).cmd }
    }

    /// The namespace of the socket that the request came from.
    pub(crate) fn net(&self) -> &'a Net {
        net(self.0)
    }

    /// The request's attribute of that type, if it has one; a repeated one counts as its last.
    pub(crate) fn attr(&self, attrtype: usize) -> Option<Attr<'a>> {
        // SAFETY: By the type invariants, `family` is the registered family of the request.
        let maxattr = unsafe { (*self.0.family).maxattr };
        if attrtype > maxattr as usize {
            return None;
        }
        // SAFETY: By the type invariants, the table goes up to `maxattr`.
        let attr = unsafe { *self.0.attrs.add(attrtype) };
        // SAFETY: The core has checked that the attributes in the table lie within the request.
        unsafe { Attr::from_raw(attr) }
    }

    /// The attributes nested in `attr`; what is wrong with them goes into the extended
    /// acknowledgement.
    ///
    /// # Errors
    ///
    /// `EINVAL` and the like if they do not follow the policy.
    pub(crate) fn nested<const N: usize>(
        &self,
        attr: Attr<'a>,
        policy: &'static [AttrPolicy; N],
    ) -> Result<Attrs<'a, N>> {
        // SAFETY: By the type invariants, `extack` is null or valid during the request.
        unsafe { Attrs::parse_nested(attr, policy, self.0.extack) }
    }

    /// Starts a reply with that command.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reply(&self, cmd: u8) -> Result<Reply<'a>> {
        let size = bindings::GENLMSG_DEFAULT_SIZE;
        // SAFETY: Any size and flags may be asked for.
        let skb = unsafe { bindings::genlmsg_new(size, bindings::GFP_KERNEL) };
        // INVARIANT: The buffer was just allocated, and `hdr` is not used before it is set.
        let mut reply = Reply {
            info: self.0,
            skb: NonNull::new(skb).ok_or(ENOMEM)?,
            hdr: core::ptr::null_mut(),
            writer: Writer::new(),
        };
        let Self(info) = self;
        // SAFETY: `skb` was just allocated, and the request's family is registered.
        reply.hdr = unsafe {
            bindings::genlmsg_put(skb, info.snd_portid, info.snd_seq, info.family, 0, cmd)
        };
        if reply.hdr.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariants, the buffer is ours.
        unsafe { reply.writer.start(reply.skb) };
        Ok(reply)
    }
}

/// The namespace of the socket that the request came from.
fn net(info: &bindings::genl_info) -> &Net {
    // SAFETY: The core has set the namespace.
    let net = unsafe { bindings::oot_genl_info_net(info) };
    // SAFETY: The request's socket is alive as long as `info` and holds its namespace.
    unsafe { Net::from_raw(net) }
}

/// A reply under construction; it is lost if it is not sent.
///
/// # Invariants
///
/// `skb` is an owned buffer, and `hdr` the header of the message in it.
pub(crate) struct Reply<'a> {
    info: &'a bindings::genl_info,
    skb: NonNull<bindings::sk_buff>,
    hdr: *mut c_void,
    writer: Writer,
}

impl Reply<'_> {
    /// Where to put the attributes.
    pub(crate) fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Sends the reply to the socket that the request came from.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the attributes do not fit, or an error of `genlmsg_reply()`.
    pub(crate) fn send(self) -> Result {
        // SAFETY: By the type invariants, the buffer is ours.
        unsafe { self.writer.append_to(self.skb)? };
        let reply = ManuallyDrop::new(self);
        let skb = reply.skb.as_ptr();
        let info = core::ptr::from_ref(reply.info).cast_mut();
        // SAFETY: By the type invariants, `hdr` is the header of the message in `skb`.
        unsafe { bindings::genlmsg_end(skb, reply.hdr) };
        // SAFETY: `info` is valid and only read; `skb`, which is not dropped here, is passed owned.
        to_result(unsafe { bindings::oot_genlmsg_reply(skb, info) })
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the buffer is ours.
        unsafe { bindings::nlmsg_free(self.skb.as_ptr()) };
    }
}

/// A dump in progress, as its [`DumpIt`] function gets it.
///
/// # Invariants
///
/// `skb` and `cb` are those that the core passes to a `dumpit` function, valid for `'a`, and `info`
/// is the information of that dump.
pub(crate) struct Dump<'a> {
    skb: NonNull<bindings::sk_buff>,
    cb: &'a mut bindings::netlink_callback,
    info: &'a bindings::genl_info,
    writer: Writer,
}

impl<'a> Dump<'a> {
    /// The namespace of the socket that the dump is for.
    pub(crate) fn net(&self) -> &'a Net {
        net(self.info)
    }

    /// The words kept from one call to the next, all 0 in the first.
    pub(crate) fn cursor(&mut self) -> &mut [c_long; 6] {
        // SAFETY: Every value is a valid one in each form of this union of integers.
        unsafe { &mut self.cb.__bindgen_anon_1.args }
    }

    /// The attributes of the request for the dump.
    ///
    /// # Errors
    ///
    /// `EINVAL` and the like if they do not follow the policy.
    pub(crate) fn attrs<const N: usize>(
        &self,
        policy: &'static [AttrPolicy; N],
    ) -> Result<Attrs<'a, N>> {
        let mut attrs = Attrs::new();
        // SAFETY: By the type invariants, `nlh` is the whole, checked message of the request, and
        // `extack` null or valid; the table and the policy have an entry for each type up to
        // `maxtype()`.
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

    /// Adds a message with that command and the attributes that `fill` puts into it.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` without room, or what `fill` returns. No message is added then.
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

/// The functions that the core calls for a [`DoIt`] or [`DumpIt`].
struct Adapter<T>(PhantomData<T>);

impl<T: DoIt> Adapter<T> {
    /// # Safety
    ///
    /// To be called by the generic netlink core, as the `doit` of an operation.
    unsafe extern "C" fn doit(
        _skb: *mut bindings::sk_buff,
        info: *mut bindings::genl_info,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a valid `info`, which does not change meanwhile.
            let info = unsafe { &*info };
            // INVARIANT: It is what the core has passed; each of our families has a policy, so that
            // the core has made the table of attributes.
            T::doit(&Request(info))?;
            Ok(0)
        })
    }
}

impl<T: DumpIt> Adapter<T> {
    /// # Safety
    ///
    /// To be called by the generic netlink core, as the `dumpit` of an operation.
    unsafe extern "C" fn dumpit(
        skb: *mut bindings::sk_buff,
        cb: *mut bindings::netlink_callback,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a valid `cb`, which is ours during the call.
            let cb = unsafe { &mut *cb };
            let skb = NonNull::new(skb).ok_or(EINVAL)?;
            // SAFETY: The core passes the `cb` of a dump of a generic netlink family.
            let info = unsafe { bindings::oot_genl_info_dump(cb) };
            // SAFETY: The information lives as long as the dump, and does not change meanwhile.
            let info = unsafe { &*info };
            // INVARIANT: All are what the core has passed.
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

/// A command of a family, with what serves it.
#[repr(transparent)]
pub(crate) struct SmallOp(bindings::genl_small_ops);

// SAFETY: It is never changed.
unsafe impl Sync for SmallOp {}

impl SmallOp {
    /// A command for those who have CAP_NET_ADMIN in the user namespace of the init namespace,
    /// validated liberally.
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

    /// Has requests served by `T`.
    pub(crate) const fn doit<T: DoIt>(mut self) -> Self {
        self.0.doit = Some(Adapter::<T>::doit);
        self
    }

    /// Has dumps served by `T`.
    pub(crate) const fn dumpit<T: DumpIt>(mut self) -> Self {
        self.0.dumpit = Some(Adapter::<T>::dumpit);
        self
    }
}

/// A generic netlink family that works in every network namespace and takes requests in parallel.
#[repr(transparent)]
pub(crate) struct Family(Opaque<bindings::genl_family>);

// SAFETY: The core, which alone changes it, does so under its own lock.
unsafe impl Sync for Family {}

impl Family {
    /// `netnsok` and `parallel_ops`, the first two bits of the family's bit field, which C allocates
    /// from the end of the byte that comes first in the byte order.
    const FLAGS: u8 = if cfg!(target_endian = "big") {
        0b1100_0000
    } else {
        0b0000_0011
    };

    /// A family of that name, which is a string with its NUL; for use in a static.
    ///
    /// All commands below `resv_start_op` may be sent with flags and versions that newer families
    /// refuse.
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

    /// Registers the family with the kernel.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a family of that name; `ENOMEM`.
    pub(crate) fn register(&'static self) -> Result<Registration> {
        // SAFETY: The family is a static, made by `new()` from statics.
        to_result(unsafe { bindings::genl_register_family(self.0.get()) })?;
        // INVARIANT: It was just registered.
        Ok(Registration(self))
    }
}

/// The registration of a [`Family`]; dropping it ends the family, after the last request.
///
/// As all registrations of the kernel crate, one that is leaked (`core::mem::forget()`) stays: the
/// functions are code of the module, which must not be unloaded then.
///
/// # Invariants
///
/// The family is registered.
pub(crate) struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it is registered.
        unsafe { bindings::genl_unregister_family(self.0 .0.get()) };
    }
}
