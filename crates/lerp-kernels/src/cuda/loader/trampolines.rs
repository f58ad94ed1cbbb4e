//! The trampolines: the lookup at a CUDA function's first call, and the instructions that jump to the function.

use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{Acquire, Release},
    },
};

unsafe extern "C" {
    fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// `dlopen` flags (`RTLD_GLOBAL | RTLD_NOW`) for opening a library as if the program were linked against it: libraries
/// opened later see its symbols, and its own symbols are all resolved at once, so that errors appear then.
const RTLD_GLOBAL_NOW: c_int = 0x100 | 2;

/// A CUDA library.
struct Library {
    /// The name in messages.
    title: &'static str,
    /// The file name for the dynamic loader.
    file: &'static str,
    /// The function that replaces the library's functions if it is missing.
    refuse: extern "C" fn() -> c_int,
    /// The library's handle: null before the first search, [`ABSENT`] if the library was not found.
    handle: AtomicPtr<c_void>,
}

/// The sentinel handle of a library that was not found.
const ABSENT: *mut c_void = ptr::dangling_mut();

impl Library {
    const fn new(title: &'static str, file: &'static str, refuse: extern "C" fn() -> c_int) -> Self {
        Self { title, file, refuse, handle: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// Indices into [`LIBRARIES`].
pub(super) const DRIVER: u32 = 0;
pub(super) const RUNTIME: u32 = 1;
pub(super) const NVRTC: u32 = 2;
pub(super) const BLAS_LT: u32 = 3;
pub(super) const BLAS: u32 = 4;
pub(super) const RAND: u32 = 5;
pub(super) const DNN: u32 = 6;

/// The libraries, each after those that it depends on: once a dependency was opened from a folder, the dynamic loader
/// finds it by name. The error codes are values of the library's own error enum, because other values would be
/// undefined behaviour in cudarc's Rust enums.
static LIBRARIES: [Library; 7] = [
    // CUDA_ERROR_NO_DEVICE
    Library::new("the NVIDIA driver", "libcuda.so.1", refuse::<100>),
    // cudaErrorInsufficientDriver
    Library::new("the CUDA runtime", concat!("libcudart.so.", env!("LERP_CUDA_MAJOR")), refuse::<35>),
    // NVRTC_ERROR_INTERNAL_ERROR
    Library::new("NVRTC", concat!("libnvrtc.so.", env!("LERP_CUDA_MAJOR")), refuse::<11>),
    // CUBLAS_STATUS_NOT_INITIALIZED
    Library::new("cuBLASLt", concat!("libcublasLt.so.", env!("LERP_CUDA_MAJOR")), refuse::<1>),
    Library::new("cuBLAS", concat!("libcublas.so.", env!("LERP_CUDA_MAJOR")), refuse::<1>),
    // CURAND_STATUS_NOT_INITIALIZED
    Library::new("cuRAND", "libcurand.so.10", refuse::<101>),
    // CUDNN_STATUS_NOT_INITIALIZED
    Library::new("cuDNN", "libcudnn.so.9", refuse::<1001>),
];

/// The kinds of a function's result without its library: an error code ([`STATUS`]); null, 0 or nothing ([`NOTHING`]);
/// or a message ([`TEXT`]).
pub(super) const STATUS: u32 = 0;
pub(super) const NOTHING: u32 = 1;
pub(super) const TEXT: u32 = 2;

extern "C" fn refuse<const CODE: c_int>() -> c_int {
    CODE
}

extern "C" fn nothing() -> *const c_void {
    ptr::null()
}

extern "C" fn text() -> *const c_char {
    c"this CUDA library is not on this machine".as_ptr()
}

/// Opens all libraries that computations need. The error names the first one that is missing.
pub(super) fn open_all() -> Result<(), String> {
    for (index, library) in (0..).zip(&LIBRARIES) {
        // NVRTC is optional: this program compiles no kernels at run time, and where cuDNN does, it uses an NVRTC that
        // was opened, or works without.
        if library.handle().is_some() || index == NVRTC {
            continue;
        }
        let Library { title, file, .. } = library;
        return Err(match library.search() {
            Err(Some(reason)) => format!("{title} ({file}) cannot be loaded: {reason}"),
            _ if index == DRIVER => format!("{title} ({file}) is not on this machine"),
            _ => format!("{title} ({file}) was not found; put its folder into LD_LIBRARY_PATH"),
        });
    }
    Ok(())
}

impl Library {
    /// Returns the library's handle, or `None` if the library is not installed.
    fn handle(&self) -> Option<*mut c_void> {
        let mut handle = self.handle.load(Acquire);
        if handle.is_null() {
            handle = self.search().unwrap_or(ABSENT);
            self.handle.store(handle, Release);
        }
        (handle != ABSENT).then_some(handle)
    }

    /// Searches the library by name, which respects `LD_LIBRARY_PATH` and the system's configuration, and then in the
    /// toolkit's usual folders. The error is the reason why an existing file could not be opened, or `None` if there is
    /// no file.
    fn search(&self) -> Result<*mut c_void, Option<String>> {
        let mut fault = None;
        let named = std::iter::once(PathBuf::from(self.file));
        for path in named.chain(folders().into_iter().map(|folder| folder.join(self.file))) {
            match open(&path) {
                Ok(handle) => return Ok(handle),
                Err(reason) => {
                    let missing = format!("{}: cannot open shared object file: No such file", path.display());
                    if !reason.starts_with(&missing) {
                        fault.get_or_insert(reason);
                    }
                }
            }
        }
        Err(fault)
    }
}

/// Returns the folders in which a toolkit keeps its libraries.
fn folders() -> Vec<PathBuf> {
    let roots = [env::var_os("CUDA_HOME"), env::var_os("CUDA_PATH"), Some("/usr/local/cuda".into())];
    let full = roots.into_iter().flatten().filter(|root| !root.is_empty());
    full.flat_map(|root| ["lib64", "lib"].map(|folder| Path::new(&root).join(folder))).collect()
}

fn open(path: &Path) -> Result<*mut c_void, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the name ends in 0; NVIDIA's libraries may be opened on any thread, also before `main`.
    let handle = unsafe { dlopen(name.as_ptr(), RTLD_GLOBAL_NOW) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: the message belongs to this thread and lives until its next call of the dynamic loader.
    let reason = unsafe { dlerror() };
    if reason.is_null() {
        return Err("unknown error".into());
    }
    // SAFETY: the message is valid, as above, and ends in 0.
    Err(unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned())
}

/// An entry of the table of functions. The macro `symbol!` relies on its layout.
#[repr(C)]
pub(super) struct Symbol {
    /// The address that calls jump to; null before the first call.
    address: AtomicPtr<c_void>,
    name: *const c_char,
    /// The library's index in [`LIBRARIES`].
    owner: u32,
    /// The kind of result without the library: [`STATUS`], [`NOTHING`] or [`TEXT`].
    result: u32,
}

/// Looks a function up at its first call and returns the address to jump to. It may run before `main`, when candle's
/// kernels register themselves. It takes no lock: of several threads that arrive at once, each does the whole lookup,
/// with the same result.
pub(super) extern "C" fn resolve(symbol: &Symbol) -> *mut c_void {
    let library = &LIBRARIES[symbol.owner as usize];
    let mut address = ptr::null_mut();
    if let Some(handle) = library.handle() {
        // SAFETY: the handle is never closed, and the name ends in 0.
        address = unsafe { dlsym(handle, symbol.name) };
    }
    if address.is_null() {
        address = match symbol.result {
            NOTHING => nothing as *mut c_void,
            TEXT => text as *mut c_void,
            _ => library.refuse as *mut c_void,
        };
    }
    symbol.address.store(address, Release);
    address
}

/// Defines functions, given as `LIBRARY RESULT [names]`. They are hidden symbols, so that the CUDA libraries do not
/// bind to them instead of to their own functions.
macro_rules! symbols {
    ($($library:ident $result:ident [$($name:ident)*])*) => {
        // SAFETY: a function here preserves the stack and every register that can carry an argument. It continues at
        // the library's function of the same name, or at one without parameters that returns a result of the same type.
        std::arch::global_asm!(
            $crate::cuda::loader::trampolines::first_call!(),
            $crate::cuda::loader::trampolines::symbol!(),
            $($(
                concat!("symbol ", stringify!($name), ", {", stringify!($library), "}, {", stringify!($result), "}"),
            )*)*
            ".purgem symbol",
            resolve = sym $crate::cuda::loader::trampolines::resolve,
            DRIVER = const $crate::cuda::loader::trampolines::DRIVER,
            RUNTIME = const $crate::cuda::loader::trampolines::RUNTIME,
            NVRTC = const $crate::cuda::loader::trampolines::NVRTC,
            BLAS_LT = const $crate::cuda::loader::trampolines::BLAS_LT,
            BLAS = const $crate::cuda::loader::trampolines::BLAS,
            RAND = const $crate::cuda::loader::trampolines::RAND,
            DNN = const $crate::cuda::loader::trampolines::DNN,
            STATUS = const $crate::cuda::loader::trampolines::STATUS,
            NOTHING = const $crate::cuda::loader::trampolines::NOTHING,
            TEXT = const $crate::cuda::loader::trampolines::TEXT,
        );
    };
}

/// The assembler macro that defines an entry of the table and the function that jumps through it.
macro_rules! symbol {
    () => {
        concat!(
            r#"
            .macro symbol name, library, result
            .pushsection .rodata.lerp_cuda, "a", @progbits
            .Llerp_name_\name: .asciz "\name"
            .popsection
            .pushsection .data.lerp_cuda, "aw", @progbits
            .balign 8
            .Llerp_symbol_\name:
            .quad 0, .Llerp_name_\name
            .long \library, \result
            .popsection
            .pushsection .text.lerp_cuda, "ax", @progbits
            .balign 16
            .globl \name
            .hidden \name
            .type \name, @function
            \name:
            "#,
            $crate::cuda::loader::trampolines::jump_through_table!(),
            r"
            .size \name, . - \name
            .popsection
            .endm
            "
        )
    };
}

/// The body of a function: jumps to the address in its table entry, or to the lookup if there is none yet.
#[cfg(target_arch = "x86_64")]
macro_rules! jump_through_table {
    () => {
        r"
        mov r11, qword ptr [rip + .Llerp_symbol_\name]
        test r11, r11
        je 2f
        jmp r11
        2: lea r11, [rip + .Llerp_symbol_\name]
        jmp .Llerp_first_call
        "
    };
}

/// The body of a function: jumps to the address in its table entry, or to the lookup if there is none yet. The load has
/// acquire semantics, so that the called function sees everything that another thread's dynamic loader wrote.
#[cfg(target_arch = "aarch64")]
macro_rules! jump_through_table {
    () => {
        r"
        adrp x16, .Llerp_symbol_\name
        add x16, x16, :lo12:.Llerp_symbol_\name
        ldar x17, [x16]
        cbz x17, .Llerp_first_call
        br x17
        "
    };
}

/// Saves the arguments, looks the function up and jumps to it. r11 holds the table entry. The saved registers are those
/// that pass arguments, the number of vector registers (rax) and the static chain (r10).
#[cfg(target_arch = "x86_64")]
macro_rules! first_call {
    () => {
        r#"
        .pushsection .text.lerp_cuda, "ax", @progbits
        .balign 16
        .Llerp_first_call:
        .cfi_startproc
        push rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        mov rbp, rsp
        .cfi_def_cfa_register 6
        push rdi
        push rsi
        push rdx
        push rcx
        push r8
        push r9
        push rax
        push r10
        sub rsp, 128
        movaps [rsp], xmm0
        movaps [rsp + 16], xmm1
        movaps [rsp + 32], xmm2
        movaps [rsp + 48], xmm3
        movaps [rsp + 64], xmm4
        movaps [rsp + 80], xmm5
        movaps [rsp + 96], xmm6
        movaps [rsp + 112], xmm7
        mov rdi, r11
        call {resolve}
        mov r11, rax
        movaps xmm0, [rsp]
        movaps xmm1, [rsp + 16]
        movaps xmm2, [rsp + 32]
        movaps xmm3, [rsp + 48]
        movaps xmm4, [rsp + 64]
        movaps xmm5, [rsp + 80]
        movaps xmm6, [rsp + 96]
        movaps xmm7, [rsp + 112]
        add rsp, 128
        pop r10
        pop rax
        pop r9
        pop r8
        pop rcx
        pop rdx
        pop rsi
        pop rdi
        pop rbp
        .cfi_def_cfa 7, 8
        jmp r11
        .cfi_endproc
        .popsection
        "#
    };
}

/// Saves the arguments, looks the function up and jumps to it. x16 holds the table entry; x8 is the address of a large
/// result.
#[cfg(target_arch = "aarch64")]
macro_rules! first_call {
    () => {
        r#"
        .pushsection .text.lerp_cuda, "ax", @progbits
        .balign 16
        .Llerp_first_call:
        .cfi_startproc
        stp x29, x30, [sp, #-224]!
        .cfi_def_cfa_offset 224
        .cfi_offset 29, -224
        .cfi_offset 30, -216
        mov x29, sp
        stp x0, x1, [sp, #16]
        stp x2, x3, [sp, #32]
        stp x4, x5, [sp, #48]
        stp x6, x7, [sp, #64]
        str x8, [sp, #80]
        stp q0, q1, [sp, #96]
        stp q2, q3, [sp, #128]
        stp q4, q5, [sp, #160]
        stp q6, q7, [sp, #192]
        mov x0, x16
        bl {resolve}
        mov x17, x0
        ldp x0, x1, [sp, #16]
        ldp x2, x3, [sp, #32]
        ldp x4, x5, [sp, #48]
        ldp x6, x7, [sp, #64]
        ldr x8, [sp, #80]
        ldp q0, q1, [sp, #96]
        ldp q2, q3, [sp, #128]
        ldp q4, q5, [sp, #160]
        ldp q6, q7, [sp, #192]
        ldp x29, x30, [sp], #224
        .cfi_def_cfa_offset 0
        .cfi_restore 29
        .cfi_restore 30
        br x17
        .cfi_endproc
        .popsection
        "#
    };
}

pub(super) use {first_call, jump_through_table, symbol, symbols};

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, sync::Barrier, thread};

    use lerp_test::skip;

    use super::*;

    /// The variable that tells a test that it runs in the child process. A child is needed because only a new process
    /// sees a changed `LD_LIBRARY_PATH`.
    const CHILD: &str = "LERP_LOADER_CHILD";

    // `cuLaunchKernelEx` is declared with other parameters than it has, which use every argument register and the
    // stack.
    unsafe extern "C" {
        #[rustfmt::skip]
        fn cuLaunchKernelEx(
            a: i64,
            b: i64,
            c: i64,
            d: i64,
            e: i64,
            f: i64,
            g: i64,
            h: i64,
            i: i64,
            j: i64,
            p: f64,
            q: f64,
            r: f64,
            s: f64,
            t: f64,
            u: f64,
            v: f64,
            w: f64,
            x: f64,
            y: f64,
        ) -> c_int;
        fn curandGenerateNormal(
            generator: *mut c_void,
            out: *mut f32,
            n: usize,
            mean: f32,
            deviation: f32,
        ) -> c_int;
        fn cuInit(flags: u32) -> c_int;
        fn cudaGetDevice(device: *mut c_int) -> c_int;
        fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> c_int;
        fn cublasLtCreate(handle: *mut *mut c_void) -> c_int;
        fn cublasCreate_v2(handle: *mut *mut c_void) -> c_int;
        fn cudnnCreate(handle: *mut *mut c_void) -> c_int;
        fn cudnnGetVersion() -> usize;
        fn cudnnGetErrorString(code: c_int) -> *const c_char;
        fn __cudaRegisterFatBinary(binary: *mut c_void) -> *mut *mut c_void;
    }

    /// A library that replaces all CUDA libraries; its functions check that they receive the right arguments.
    const FAKE: &str = r"
        typedef long long i; typedef double d;
        int cuLaunchKernelEx(i a, i b, i c, i d_, i e, i f, i g, i h, i j, i k,
                             d p, d q, d r, d s, d t, d u, d v, d w, d x, d y) {
            return a == 1 && b == 2 && c == 3 && d_ == 4 && e == 5 && f == 6 && g == 7 && h == 8 && j == 9 && k == 10
                && p == 0.1 && q == 0.2 && r == 0.3 && s == 0.4 && t == 0.5 && u == 0.6 && v == 0.7 && w == 0.8
                && x == 0.9 && y == 1.0 ? 7 : 8;
        }
        int curandGenerateNormal(void *g, float *out, unsigned long n, float mean, float deviation) {
            *out = n + 10 * mean + deviation;
            return 0;
        }
        int cuInit(unsigned flags) { return flags; }
        int cuDriverGetVersion(int *version) { *version = 99010; return 0; }
    ";

    /// Runs the test `name` in a child process.
    fn child(name: &str, variables: &[(&str, &Path)]) {
        let module = module_path!().split_once("::").unwrap().1;
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([&format!("{module}::{name}"), "--exact", "--nocapture"]);
        for known in ["LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH"] {
            command.env_remove(known);
        }
        let output = command.env(CHILD, "1").envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{variables:?}: {text}{errors}");
    }

    /// Creates a folder for a test.
    fn folder(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("lerp-loader-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("lib64")).unwrap();
        folder
    }

    #[test]
    fn a_call_reaches_the_library_with_its_arguments() {
        if env::var_os(CHILD).is_some() {
            return call_the_fake_library();
        }
        let root = folder("fake");
        let (source, folder) = (root.join("fake.c"), root.join("lib64"));
        fs::write(&source, FAKE).unwrap();
        let library = folder.join(LIBRARIES[0].file);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
        match compiler.status() {
            Ok(status) => assert!(status.success(), "cc: {status}"),
            Err(error) => return skip("cc", &format!("the C compiler `cc` does not run: {error}")),
        }
        for other in &LIBRARIES[1..] {
            fs::copy(&library, folder.join(other.file)).unwrap();
        }
        let name = "a_call_reaches_the_library_with_its_arguments";
        child(name, &[("LD_LIBRARY_PATH", &folder)]);
        if open(Path::new(LIBRARIES[0].file)).is_err() {
            child(name, &[("CUDA_HOME", &root)]);
        }
        fs::remove_dir_all(root).unwrap();
    }

    fn call_the_fake_library() {
        let barrier = Barrier::new(8);
        let call = || {
            barrier.wait();
            let mut sum = 0.0;
            // SAFETY: the fake library's functions have these parameters.
            unsafe {
                for _ in 0..2 {
                    #[rustfmt::skip]
                    let code = cuLaunchKernelEx(
                        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
                    );
                    assert_eq!(code, 7);
                    assert_eq!(curandGenerateNormal(ptr::null_mut(), &raw mut sum, 4, 0.25, 0.5), 0);
                    assert_eq!(sum, 7.0);
                    assert_eq!(cuInit(17), 17);
                    // The fake library exists, but does not have this function.
                    assert_eq!(cudnnCreate(ptr::null_mut()), 1001);
                }
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(call))));
        assert_eq!(super::super::load(), Ok(()));
    }

    #[test]
    fn without_a_library_its_functions_answer_an_error() {
        if env::var_os(CHILD).is_some() {
            return call_without_libraries();
        }
        if let Some(here) = LIBRARIES.iter().find(|library| library.search().is_ok()) {
            return skip("no-cuda", &format!("this machine has {}", here.file));
        }
        child("without_a_library_its_functions_answer_an_error", &[]);
    }

    fn call_without_libraries() {
        let (mut number, mut handle) = (0, ptr::null_mut());
        // SAFETY: without the libraries these functions only return a constant.
        unsafe {
            for _ in 0..2 {
                assert_eq!(cuInit(0), 100);
                assert_eq!(cudaGetDevice(&raw mut number), 35);
                assert_eq!(nvrtcVersion(&raw mut number, &raw mut number), 11);
                assert_eq!(cublasLtCreate(&raw mut handle), 1);
                assert_eq!(cublasCreate_v2(&raw mut handle), 1);
                assert_eq!(curandGenerateNormal(handle, ptr::null_mut(), 1, 0.0, 1.0), 101);
                assert_eq!(cudnnCreate(&raw mut handle), 1001);
                assert_eq!(cudnnGetVersion(), 0);
                assert!(
                    CStr::from_ptr(cudnnGetErrorString(1)).to_string_lossy().contains("not on this machine")
                );
                assert!(__cudaRegisterFatBinary(handle).is_null());
            }
        }
        let missing = "the NVIDIA driver (libcuda.so.1) is not on this machine";
        assert_eq!(super::super::load().unwrap_err(), missing);
    }

    #[test]
    fn a_library_that_cannot_be_opened_is_not_called_missing() {
        if env::var_os(CHILD).is_some() {
            let error = super::super::load().unwrap_err();
            assert!(error.starts_with("the NVIDIA driver (libcuda.so.1) cannot be loaded: /"), "{error}");
            return;
        }
        let root = folder("broken");
        fs::write(root.join("lib64").join(LIBRARIES[0].file), "no library").unwrap();
        let name = "a_library_that_cannot_be_opened_is_not_called_missing";
        child(name, &[("LD_LIBRARY_PATH", &root.join("lib64"))]);
        fs::remove_dir_all(root).unwrap();
    }
}
