// SPDX-License-Identifier: GPL-2.0

//! A plugin for QEMU that writes down every instruction of one CPU, with the
//! memory it touches, while a window is open.
//!
//! The guest opens and closes windows by the instruction `xchg %ebx, %ebx`,
//! executed in user space. Outside of windows nothing is instrumented, so the
//! guest runs at its usual speed. The file (`out=FILE`) holds records of a
//! letter and a little-endian u64:
//!
//! | letter | number | |
//! |---|---|---|
//! | `m` | 0 | a window opens |
//! | `c` | address | an instruction met for the first time; its length (a byte) and its bytes follow |
//! | `i` | address | an instruction starts |
//! | `r`, `w` | address | it reads, writes memory; the size in bytes (a byte) follows |

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

// What is used of qemu-plugin.h, which Debian does not package.
#[allow(non_camel_case_types)]
type qemu_plugin_id_t = u64;
type Tb = c_void;
type Insn = c_void;

const CB_NO_REGS: c_int = 0;
const MEM_RW: c_int = 3;

extern "C" {
    fn qemu_plugin_reset(id: qemu_plugin_id_t, cb: extern "C" fn(qemu_plugin_id_t));
    fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: qemu_plugin_id_t,
        cb: extern "C" fn(qemu_plugin_id_t, *mut Tb),
    );
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut Insn,
        cb: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        cb: extern "C" fn(c_uint, u32, u64, *mut c_void),
        flags: c_int,
        rw: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_atexit_cb(
        id: qemu_plugin_id_t,
        cb: extern "C" fn(qemu_plugin_id_t, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(tb: *const Tb) -> usize;
    fn qemu_plugin_tb_get_insn(tb: *const Tb, index: usize) -> *mut Insn;
    fn qemu_plugin_insn_data(insn: *const Insn, to: *mut c_void, len: usize) -> usize;
    fn qemu_plugin_insn_vaddr(insn: *const Insn) -> u64;
    fn qemu_plugin_mem_size_shift(info: u32) -> c_uint;
    fn qemu_plugin_mem_is_store(info: u32) -> bool;
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
struct Code {
    len: u8,
    bytes: [u8; 15],
}

/// What an instruction's callback is given; never freed, as translated code
/// may refer to it until QEMU ends.
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

extern "C" fn marked(_cpu: c_uint, _data: *mut c_void) {
    if !OPEN.fetch_xor(true, Relaxed) {
        with_trace(|t| t.record(b'm', 0));
    }
    // Translates everything anew, with or without callbacks.
    unsafe { qemu_plugin_reset(ID.load(Relaxed), register) };
}

extern "C" fn executed(_cpu: c_uint, data: *mut c_void) {
    let site = unsafe { &*data.cast::<Site>() };
    with_trace(|t| {
        if t.seen.insert((site.address, site.code)) {
            t.record(b'c', site.address)?;
            t.file.write_all(&[site.code.len])?;
            t.file
                .write_all(&site.code.bytes[..usize::from(site.code.len)])?;
        }
        t.record(b'i', site.address)
    });
}

extern "C" fn accessed(_cpu: c_uint, info: u32, address: u64, _data: *mut c_void) {
    let (store, shift) = unsafe {
        (
            qemu_plugin_mem_is_store(info),
            qemu_plugin_mem_size_shift(info),
        )
    };
    with_trace(|t| {
        t.record(if store { b'w' } else { b'r' }, address)?;
        t.file.write_all(&[1 << shift])
    });
}

extern "C" fn translated(_id: qemu_plugin_id_t, tb: *mut Tb) {
    for i in 0..unsafe { qemu_plugin_tb_n_insns(tb) } {
        let insn = unsafe { qemu_plugin_tb_get_insn(tb, i) };
        let mut bytes = [0; 15];
        let len = unsafe { qemu_plugin_insn_data(insn, bytes.as_mut_ptr().cast(), bytes.len()) };
        let address = unsafe { qemu_plugin_insn_vaddr(insn) };
        let user = address >> 63 == 0;

        if user && bytes[..len] == *MARK {
            unsafe {
                qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, CB_NO_REGS, ptr::null_mut())
            };
        } else if !user && OPEN.load(Relaxed) {
            let code = Code {
                len: len as u8,
                bytes,
            };
            let site = Box::leak(Box::new(Site { address, code }));
            unsafe {
                qemu_plugin_register_vcpu_insn_exec_cb(
                    insn,
                    executed,
                    CB_NO_REGS,
                    ptr::from_mut(site).cast(),
                );
                qemu_plugin_register_vcpu_mem_cb(
                    insn,
                    accessed,
                    CB_NO_REGS,
                    MEM_RW,
                    ptr::null_mut(),
                );
            }
        }
    }
}

extern "C" fn ended(_id: qemu_plugin_id_t, _data: *mut c_void) {
    with_trace(|t| t.file.flush());
}

extern "C" fn register(id: qemu_plugin_id_t) {
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
        qemu_plugin_register_atexit_cb(id, ended, ptr::null_mut());
    }
}

/// Called by QEMU once, with the plugin's options.
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
    let options =
        (0..argc as usize).map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy());
    let Some(path) = options
        .into_iter()
        .find_map(|o| o.strip_prefix("out=").map(str::to_owned))
    else {
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
