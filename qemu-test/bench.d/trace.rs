// SPDX-License-Identifier: GPL-2.0

//! A QEMU plugin that records every kernel instruction of one CPU, with its memory
//! accesses, while a window is open.
//!
//! The guest opens and closes windows by the instruction `xchg %ebx, %ebx` in user
//! space. Outside of windows nothing is instrumented, so the guest runs at its
//! usual speed. The file (`out=FILE`) holds records of a letter and a little-endian
//! u64:
//!
//! | letter | number | |
//! |---|---|---|
//! | `m` | 0 | a window opens |
//! | `c` | address | the first execution of an instruction; its length (a byte) and its bytes follow |
//! | `i` | address | an instruction is executed |
//! | `r`, `w` | address | it reads or writes memory; the size in bytes (a byte) follows |

use std::{
    collections::HashSet,
    ffi::{c_char, c_int, c_uint, c_void, CStr},
    fs::File,
    io::{BufWriter, Write},
    ptr,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        Mutex,
    },
};

// The used part of qemu-plugin.h, which Debian does not package.
#[allow(non_camel_case_types)]
type qemu_plugin_id_t = u64;

/// A translation block, `struct qemu_plugin_tb`.
#[repr(C)]
struct Tb {
    _opaque: [u8; 0],
}

/// An instruction of a translation block, `struct qemu_plugin_insn`.
#[repr(C)]
struct Insn {
    _opaque: [u8; 0],
}

/// The argument of an instruction's callbacks.
type Data = Option<&'static Site>;

const CB_NO_REGS: c_int = 0;
const MEM_RW: c_int = 3;

// SAFETY: As in the header, version 4. QEMU aborts on an unknown id, returns no instruction beyond
// a block's end, and passes `Data` unchanged to the callback with which it was registered.
unsafe extern "C" {
    safe fn qemu_plugin_reset(id: qemu_plugin_id_t, cb: extern "C" fn(qemu_plugin_id_t));
    safe fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: qemu_plugin_id_t,
        cb: extern "C" fn(qemu_plugin_id_t, &Tb),
    );
    safe fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: &Insn,
        cb: extern "C" fn(c_uint, Data),
        flags: c_int,
        data: Data,
    );
    safe fn qemu_plugin_register_vcpu_mem_cb(
        insn: &Insn,
        cb: extern "C" fn(c_uint, u32, u64, Data),
        flags: c_int,
        rw: c_int,
        data: Data,
    );
    safe fn qemu_plugin_register_atexit_cb(
        id: qemu_plugin_id_t,
        cb: extern "C" fn(qemu_plugin_id_t, *mut c_void),
        data: *mut c_void,
    );
    safe fn qemu_plugin_tb_n_insns(tb: &Tb) -> usize;
    safe fn qemu_plugin_tb_get_insn(tb: &Tb, index: usize) -> Option<&Insn>;
    fn qemu_plugin_insn_data(insn: &Insn, to: *mut c_void, len: usize) -> usize;
    safe fn qemu_plugin_insn_vaddr(insn: &Insn) -> u64;
    safe fn qemu_plugin_mem_size_shift(info: u32) -> c_uint;
    safe fn qemu_plugin_mem_is_store(info: u32) -> bool;
}

#[no_mangle]
pub static qemu_plugin_version: c_int = 4;

const MARK: &[u8] = b"\x87\xdb";

static ID: AtomicU64 = AtomicU64::new(0);
static OPEN: AtomicBool = AtomicBool::new(false);
static OUT: Mutex<Option<Trace>> = Mutex::new(None);

struct Trace {
    file: BufWriter<File>,
    seen: HashSet<(u64, Code)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
struct Code {
    len: u8,
    bytes: [u8; 15],
}

impl Code {
    fn of(insn: &Insn) -> Self {
        let mut bytes = [0; 15];
        // SAFETY: At most `bytes.len()` bytes are written to `bytes`.
        let len = unsafe { qemu_plugin_insn_data(insn, bytes.as_mut_ptr().cast(), bytes.len()) };
        Self {
            len: len as u8,
            bytes,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// An instruction with its address; never freed, as translated code may refer to it
/// until QEMU ends.
#[repr(C)]
struct Site {
    address: u64,
    code: Code,
}

fn with_trace(f: impl FnOnce(&mut Trace) -> std::io::Result<()>) {
    if let Some(trace) = OUT.lock().unwrap().as_mut() {
        f(trace).expect("writing the trace");
    }
}

impl Trace {
    fn record(&mut self, letter: u8, number: u64) -> std::io::Result<()> {
        self.file.write_all(&[letter])?;
        self.file.write_all(&number.to_le_bytes())
    }
}

extern "C" fn marked(_cpu: c_uint, _data: Data) {
    if !OPEN.fetch_xor(true, Relaxed) {
        with_trace(|t| t.record(b'm', 0));
    }
    // Translates all code again, with or without callbacks.
    qemu_plugin_reset(ID.load(Relaxed), register);
}

extern "C" fn executed(_cpu: c_uint, site: Data) {
    let Some(site) = site else { return };
    with_trace(|t| {
        if t.seen.insert((site.address, site.code)) {
            t.record(b'c', site.address)?;
            t.file.write_all(&[site.code.len])?;
            t.file.write_all(site.code.bytes())?;
        }
        t.record(b'i', site.address)
    });
}

extern "C" fn accessed(_cpu: c_uint, info: u32, address: u64, _data: Data) {
    let letter = match qemu_plugin_mem_is_store(info) {
        true => b'w',
        false => b'r',
    };
    with_trace(|t| {
        t.record(letter, address)?;
        t.file.write_all(&[1 << qemu_plugin_mem_size_shift(info)])
    });
}

extern "C" fn translated(_id: qemu_plugin_id_t, tb: &Tb) {
    for insn in (0..qemu_plugin_tb_n_insns(tb)).filter_map(|i| qemu_plugin_tb_get_insn(tb, i)) {
        let code = Code::of(insn);
        let address = qemu_plugin_insn_vaddr(insn);
        let user = address >> 63 == 0;

        if user && code.bytes() == MARK {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, CB_NO_REGS, None);
        } else if !user && OPEN.load(Relaxed) {
            let site = Box::leak(Box::new(Site { address, code }));
            qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, CB_NO_REGS, Some(site));
            qemu_plugin_register_vcpu_mem_cb(insn, accessed, CB_NO_REGS, MEM_RW, None);
        }
    }
}

extern "C" fn ended(_id: qemu_plugin_id_t, _data: *mut c_void) {
    with_trace(|t| t.file.flush());
}

extern "C" fn register(id: qemu_plugin_id_t) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, ptr::null_mut());
}

/// The plugin's entry point, called once with its options.
///
/// # Safety
///
/// `argv` holds `argc` strings.
#[no_mangle]
pub unsafe extern "C" fn qemu_plugin_install(
    id: qemu_plugin_id_t,
    _info: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let path = (0..argc as usize).find_map(|i| {
        // SAFETY: By the safety requirement, `argv` has at least `i + 1` elements.
        let option = unsafe { *argv.wrapping_add(i) };
        // SAFETY: By the safety requirement, each element is a string.
        let option = unsafe { CStr::from_ptr(option) };
        option
            .to_string_lossy()
            .strip_prefix("out=")
            .map(str::to_owned)
    });
    let Some(path) = path else {
        eprintln!("trace: out=FILE is missing");
        return -1;
    };
    let file = match File::create(&path) {
        Ok(file) => BufWriter::with_capacity(1 << 20, file),
        Err(error) => {
            eprintln!("trace: {path}: {error}");
            return -1;
        }
    };
    *OUT.lock().unwrap() = Some(Trace {
        file,
        seen: HashSet::new(),
    });
    ID.store(id, Relaxed);
    register(id);
    0
}
