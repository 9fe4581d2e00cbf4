// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: reading them by a policy, and writing them.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use crate::oot::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_void},
    prelude::*,
};

/// What an attribute must be like.
#[repr(transparent)]
pub(crate) struct AttrPolicy(bindings::nla_policy);

// SAFETY: It is never changed.
unsafe impl Sync for AttrPolicy {}

impl AttrPolicy {
    /// Anything.
    pub(crate) const ANY: Self = Self::new(bindings::NLA_UNSPEC, 0);
    /// At least one byte, of which the first counts.
    pub(crate) const U8: Self = Self::new(bindings::NLA_U8, 0);
    /// At least two bytes.
    pub(crate) const U16: Self = Self::new(bindings::NLA_U16, 0);
    /// At least four bytes.
    pub(crate) const U32: Self = Self::new(bindings::NLA_U32, 0);
    /// Nothing, or attributes.
    pub(crate) const NESTED: Self = Self::new(bindings::NLA_NESTED, 0);

    /// At least `len` bytes.
    pub(crate) const fn at_least(len: u16) -> Self {
        Self::new(bindings::NLA_UNSPEC, len)
    }

    /// Up to `len` bytes.
    pub(crate) const fn binary(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, len)
    }

    /// A string of up to `len` bytes and a NUL.
    pub(crate) const fn nul_string(len: u16) -> Self {
        Self::new(bindings::NLA_NUL_STRING, len)
    }

    const fn new(type_: u32, len: u16) -> Self {
        Self(bindings::nla_policy {
            type_: type_ as u8,
            len,
            ..pin_init::zeroed()
        })
    }

    /// The C form of a table.
    pub(super) const fn as_raw(table: &'static [Self]) -> *const bindings::nla_policy {
        table.as_ptr().cast()
    }
}

/// An attribute of a request.
///
/// # Invariants
///
/// The pointer is to an attribute which, with as many bytes as its length says, is valid for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Attr<'a>(NonNull<bindings::nlattr>, PhantomData<&'a [u8]>);

impl<'a> Attr<'a> {
    /// The attribute at `attr`; `None` if that is null.
    ///
    /// # Safety
    ///
    /// `attr` must be null or point at an attribute which, with as many bytes as its length says,
    /// is valid for `'a`.
    pub(super) unsafe fn from_raw(attr: *mut bindings::nlattr) -> Option<Self> {
        // INVARIANT: By the safety requirements.
        NonNull::new(attr).map(|attr| Self(attr, PhantomData))
    }

    /// The attribute's contents.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        // SAFETY: By the type invariants, the attribute is valid.
        let len = unsafe { self.0.as_ref() }.nla_len;
        let len = usize::from(len).saturating_sub(size_of::<bindings::nlattr>());
        // SAFETY: By the type invariants, its contents follow the header, and `len` bytes of them
        // are valid for `'a`.
        unsafe { core::slice::from_raw_parts(self.0.add(1).cast().as_ptr(), len) }
    }

    /// The first `N` bytes, those it lacks as 0 (C: `nla_memcpy()`).
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.bytes()) {
            *to = *from;
        }
        array
    }

    /// The number in the first byte.
    pub(crate) fn u8(&self) -> u8 {
        u8::from_ne_bytes(self.array())
    }

    /// The number in the first two bytes, not converted from any byte order.
    pub(crate) fn u16(&self) -> u16 {
        u16::from_ne_bytes(self.array())
    }

    /// The number in the first four bytes, not converted from any byte order.
    pub(crate) fn u32(&self) -> u32 {
        u32::from_ne_bytes(self.array())
    }

    /// The bytes before the first NUL.
    pub(crate) fn str_bytes(&self) -> &'a [u8] {
        let bytes = self.bytes();
        let len = bytes.iter().position(|byte| *byte == 0);
        len.and_then(|len| bytes.get(..len)).unwrap_or(bytes)
    }

    /// The attributes nested in this one (C: `nla_parse_nested_deprecated()` without extack).
    pub(crate) fn nested<const N: usize>(
        self,
        policy: &'static [AttrPolicy; N],
    ) -> Result<Attrs<'a, N>> {
        // SAFETY: There is no `extack`.
        unsafe { Attrs::parse_nested(self, policy, core::ptr::null_mut()) }
    }
}

/// The attributes of types 1 up to `N - 1`, by their type.
///
/// # Invariants
///
/// Each pointer is null or to an attribute as in [`Attr`].
pub(crate) struct Attrs<'a, const N: usize>([*mut bindings::nlattr; N], PhantomData<&'a [u8]>);

impl<'a, const N: usize> Attrs<'a, N> {
    /// The highest type.
    pub(super) const MAXTYPE: c_int = {
        assert!(N > 0 && N < 256);
        N as c_int - 1
    };

    /// No attributes.
    pub(super) fn new() -> Self {
        // INVARIANT: All are null.
        Self([core::ptr::null_mut(); N], PhantomData)
    }

    /// The attributes nested in `attr`.
    ///
    /// # Safety
    ///
    /// `extack` must be null or valid.
    pub(super) unsafe fn parse_nested(
        attr: Attr<'a>,
        policy: &'static [AttrPolicy; N],
        extack: *mut bindings::netlink_ext_ack,
    ) -> Result<Self> {
        let mut attrs = Self::new();
        let bytes = attr.bytes();
        // INVARIANT: The parser stores pointers to attributes that lie within `bytes`.
        // SAFETY: The table and the policy have an entry for each type up to `MAXTYPE`, and `bytes`
        // is where the attributes lie; `extack` is as the caller promises.
        to_result(unsafe {
            bindings::__nla_parse(
                attrs.as_mut_ptr(),
                Self::MAXTYPE,
                bytes.as_ptr().cast(),
                bytes.len() as c_int,
                AttrPolicy::as_raw(policy),
                bindings::netlink_validation_NL_VALIDATE_LIBERAL,
                extack,
            )
        })?;
        Ok(attrs)
    }

    /// The table, for the parser to fill in.
    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut bindings::nlattr {
        self.0.as_mut_ptr()
    }

    /// The attribute of that type, if there is one.
    pub(crate) fn get(&self, attrtype: usize) -> Option<Attr<'a>> {
        let attr = *self.0.get(attrtype)?;
        // SAFETY: By the type invariants.
        unsafe { Attr::from_raw(attr) }
    }
}

/// Puts attributes into a message under construction.
///
/// Each function fails with `EMSGSIZE` if there is no room.
///
/// # Invariants
///
/// The buffer is valid for `'a`, and nobody else uses it meanwhile.
pub(crate) struct Writer<'a>(NonNull<bindings::sk_buff>, PhantomData<&'a mut ()>);

impl Writer<'_> {
    /// A writer at the end of `skb`.
    ///
    /// # Safety
    ///
    /// `skb` must be valid and not be used otherwise while the writer lives.
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(skb, PhantomData)
    }

    /// Puts an attribute of these bytes.
    pub(crate) fn put(&mut self, attrtype: usize, bytes: &[u8]) -> Result {
        let len = attr_len(bytes.len())?;
        let data: *const c_void = bytes.as_ptr().cast();
        // SAFETY: By the type invariants, the buffer is valid; `data` has `len` bytes.
        to_result(unsafe { bindings::nla_put(self.0.as_ptr(), attrtype as c_int, len, data) })
    }

    /// Puts a number of one byte.
    pub(crate) fn put_u8(&mut self, attrtype: usize, value: u8) -> Result {
        self.put(attrtype, &value.to_ne_bytes())
    }

    /// Puts a number of two bytes.
    pub(crate) fn put_u16(&mut self, attrtype: usize, value: u16) -> Result {
        self.put(attrtype, &value.to_ne_bytes())
    }

    /// Puts a number of four bytes.
    pub(crate) fn put_u32(&mut self, attrtype: usize, value: u32) -> Result {
        self.put(attrtype, &value.to_ne_bytes())
    }

    /// Puts a number of eight bytes, on an address divisible by eight if need be by means of an
    /// attribute of type `padattr`.
    pub(crate) fn put_u64_64bit(&mut self, attrtype: usize, value: u64, padattr: usize) -> Result {
        let bytes = value.to_ne_bytes();
        // SAFETY: By the type invariants, the buffer is valid; the data has as many bytes as said.
        to_result(unsafe {
            bindings::nla_put_64bit(
                self.0.as_ptr(),
                attrtype as c_int,
                size_of::<u64>() as c_int,
                bytes.as_ptr().cast(),
                padattr as c_int,
            )
        })
    }

    /// Puts a string and a NUL.
    pub(crate) fn put_string(&mut self, attrtype: usize, value: &str) -> Result {
        let len = attr_len(value.len().saturating_add(1))?;
        let skb = self.0.as_ptr();
        // SAFETY: By the type invariants, the buffer is valid.
        let attr = unsafe { bindings::nla_reserve(skb, attrtype as c_int, len) };
        let attr = NonNull::new(attr).ok_or(EMSGSIZE)?;
        // SAFETY: The contents follow the header, and lie in the buffer with it.
        let contents = unsafe { attr.add(1) }.cast::<MaybeUninit<u8>>();
        // SAFETY: `len` bytes were reserved for the contents.
        let contents = unsafe { core::slice::from_raw_parts_mut(contents.as_ptr(), len as usize) };
        for (to, from) in contents.iter_mut().zip(Iterator::chain(value.bytes(), [0])) {
            to.write(from);
        }
        Ok(())
    }

    /// Puts an attribute of the attributes that `fill` puts; if it fails, all is taken back.
    pub(crate) fn nest(
        &mut self,
        attrtype: usize,
        fill: impl FnOnce(&mut Self) -> Result,
    ) -> Result {
        let skb = self.0.as_ptr();
        let attrtype = attrtype as c_int;
        // SAFETY: By the type invariants, the buffer is valid.
        let start = unsafe { bindings::oot_nla_nest_start_noflag(skb, attrtype) };
        if start.is_null() {
            return Err(EMSGSIZE);
        }
        let filled = fill(self);
        match filled {
            // SAFETY: `start` is an attribute of `skb`, and what follows is its contents.
            Ok(()) => unsafe { bindings::oot_nla_nest_end(skb, start) },
            // SAFETY: As above.
            Err(_) => unsafe { bindings::oot_nla_nest_cancel(skb, start) },
        }
        filled
    }
}

/// The length of an attribute's contents, if an attribute can be that long.
fn attr_len(len: usize) -> Result<c_int> {
    const MAX: usize = u16::MAX as usize - size_of::<bindings::nlattr>();

    match len {
        0..=MAX => Ok(len as c_int),
        _ => Err(EMSGSIZE),
    }
}
