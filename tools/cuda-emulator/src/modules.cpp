// Modules and functions. A module is PTX text; its .entry names choose the library of host-compiled kernels, in
// lib/kernels beside the emulator or EMU_KERNELS=DIR, that has the most of them. Rules: every kernel that is looked up
// is in the PTX and in the host version with the same sizes of parameters; a library older than its source is reported;
// modules belong to a context. Fatbins and cubins are not emulated.
#include "internal.h"
#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

static std::vector<KernelLib *> kernel_libs;
static std::once_flag kernel_libs_once;

static string self_dir() {
    Dl_info i;
    dladdr((void *)self_dir, &i);
    char b[4096];
    if (realpath(i.dli_fname, b)) {
        string s = b;
        return s.substr(0, s.rfind('/'));
    }
    return ".";
}

static void load_libs() {
    string d = getenv("EMU_KERNELS") ? getenv("EMU_KERNELS") : self_dir() + "/kernels";
    DIR *D = opendir(d.c_str());
    if (!D) {
        report_error("no kernel folder %s", d.c_str());
        return;
    }
    std::vector<string> v;
    while (dirent *e = readdir(D)) {
        string s = e->d_name;
        if (s.size() > 3 && s.substr(s.size() - 3) == ".so")
            v.push_back(s);
    }
    closedir(D);
    std::sort(v.begin(), v.end());
    for (auto &s : v) {
        void *h = dlopen((d + "/" + s).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!h) {
            report_error("dlopen %s: %s", s.c_str(), dlerror());
            continue;
        }
        auto f = (const emu_kernel *(*)(int *))dlsym(h, "emu_kernels");
        if (!f) {
            report_error("%s has no kernel table", s.c_str());
            continue;
        }
        KernelLib *l = new KernelLib{(emu_tls_t * (*)()) dlsym(h, "emu_tls_addr"), s, nullptr, 0, 0, 0};
        l->kernels = f(&l->count);
        size_t mod = 0;
        if (dlinfo(h, RTLD_DI_TLS_MODID, &mod) == 0)
            l->tls_module = mod;
        struct link_map *lm;
        dlinfo(h, RTLD_DI_LINKMAP, &lm);

        struct P {
            const char *name;
            size_t n;
        } p{lm->l_name, 0};

        dl_iterate_phdr(
            [](dl_phdr_info *i, size_t, void *d) {
                P *p = (P *)d;
                if (!strcmp(i->dlpi_name, p->name))
                    for (int k = 0; k < i->dlpi_phnum; k++)
                        if (i->dlpi_phdr[k].p_type == PT_TLS)
                            p->n = i->dlpi_phdr[k].p_memsz;
                return 0;
            },
            &p);
        l->tls_size = p.n;
        if (auto src = (const char *)dlsym(h, "emu_source")) {
            struct stat a, b;
            if (!stat(src, &a) && !stat((d + "/" + s).c_str(), &b) && a.st_mtime > b.st_mtime)
                report_error("%s is newer than %s: run build.sh %s", src, s.c_str(), src);
        }
        kernel_libs.push_back(l);
    }
}

static std::map<string, std::vector<unsigned>> parse_ptx(const string &s) {
    std::map<string, std::vector<unsigned>> r;
    size_t i = 0;
    while ((i = s.find(".entry", i)) != string::npos) {
        i += 6;
        while (i < s.size() && isspace(s[i]))
            i++;
        size_t j = i;
        while (j < s.size() && (isalnum(s[j]) || s[j] == '_' || s[j] == '$'))
            j++;
        string name = s.substr(i, j - i);
        std::vector<unsigned> ps;
        size_t b = s.find_first_of("({", j), e = string::npos;
        if (b != string::npos && s[b] == '(') {
            e = s.find(')', b);
            string a = s.substr(b + 1, e - b - 1);
            size_t k = 0;
            while ((k = a.find(".param", k)) != string::npos) {
                size_t c = a.find(".param", k + 6);
                string q = a.substr(k + 6, (c == string::npos ? a.size() : c) - k - 6);
                unsigned sz = 0;
                size_t br = q.find('[');
                if (br != string::npos)
                    sz = atoi(q.c_str() + br + 1);
                else {
                    for (const char *t : {".u", ".s", ".b", ".f"}) {
                        size_t z = 0;
                        while ((z = q.find(t, z)) != string::npos) {
                            if (isdigit(q[z + 2])) {
                                sz = atoi(q.c_str() + z + 2) / 8;
                                break;
                            }
                            z++;
                        }
                        if (sz)
                            break;
                    }
                }
                ps.push_back(sz);
                k += 6;
            }
        }
        r[name] = ps;
        i = j;
    }
    return r;
}

API CUresult cuModuleLoadData(CUmodule *m, const void *image) {
    NEED_CTX;
    std::call_once(kernel_libs_once, load_libs);
    {
        std::lock_guard<std::mutex> l(object_mutex);
        for (auto &c : captures)
            if (c->thread == std::this_thread::get_id())
                report_note("warning: cuModuleLoadData while this thread captures");
    }
    const char *p = (const char *)image;
    if (*(const uint32_t *)image == 0xBA55ED50 || !memcmp(image,
                                                          "\x7f"
                                                          "ELF",
                                                          4)) {
        report_error("cuModuleLoadData: a fatbin or cubin; only PTX text is emulated");
        return CUDA_ERROR_INVALID_IMAGE;
    }
    auto M = new CUmod_st;
    M->ctx = current_context;
    M->ptx = p;
    M->entries = parse_ptx(M->ptx);
    M->lib = nullptr;
    if (M->entries.empty()) {
        report_error("cuModuleLoadData: no .entry in the PTX (%zu bytes)", M->ptx.size());
    }
    int best = 0;
    for (auto l : kernel_libs) {
        int n = 0;
        for (int i = 0; i < l->count; i++)
            n += M->entries.count(l->kernels[i].name);
        if (n > best) {
            best = n;
            M->lib = l;
        }
    }
    if (env_switch("EMU_VERBOSE"))
        report_note("module with %zu entries -> %s (%d kernels match)", M->entries.size(),
                    M->lib ? M->lib->path.c_str() : "none", best);
    if (!M->lib)
        report_error("cuModuleLoadData: no host-compiled kernels for this module (first entry %s)",
                     M->entries.empty() ? "-" : M->entries.begin()->first.c_str());
    *m = M;
    return CUDA_SUCCESS;
}

API CUresult cuModuleLoad(CUmodule *m, const char *f) {
    FILE *F = fopen(f, "rb");
    if (!F)
        return CUDA_ERROR_FILE_NOT_FOUND;
    string s;
    char b[65536];
    size_t n;
    while ((n = fread(b, 1, sizeof b, F)) > 0)
        s.append(b, n);
    fclose(F);
    return cuModuleLoadData(m, s.c_str());
}

API CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

API CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
    NEED_CTX;
    if (m->ctx != current_context) {
        report_error("cuModuleGetFunction: module of another context");
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    auto e = m->entries.find(name);
    if (e == m->entries.end()) {
        report_error("cuModuleGetFunction: the module has no entry %s", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    std::lock_guard<std::mutex> l(object_mutex);
    auto &F = m->funcs[name];
    if (F) {
        *f = F;
        return CUDA_SUCCESS;
    }
    const emu_kernel *k = nullptr;
    KernelLib *lib = m->lib;
    if (lib)
        for (int i = 0; i < lib->count; i++)
            if (!strcmp(lib->kernels[i].name, name))
                k = &lib->kernels[i];
    if (!k) {
        report_error("kernel %s has no host version", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    bool ok = (int)e->second.size() == k->nparams;
    for (int i = 0; ok && i < k->nparams; i++)
        ok = e->second[i] == k->sizes[i];
    if (!ok) {
        string a, b;
        for (auto x : e->second)
            a += " " + std::to_string(x);
        for (int i = 0; i < k->nparams; i++)
            b += " " + std::to_string(k->sizes[i]);
        report_error(
            "kernel %s: parameter sizes of the PTX (%s ) and of the host version (%s ) differ; rebuild with build.sh",
            name, a.c_str(), b.c_str());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    F = new CUfunc_st;
    F->kernel = k;
    F->mod = m;
    F->lib = lib;
    F->name = name;
    functions.push_back(F);
    *f = F;
    return CUDA_SUCCESS;
}

API CUresult cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *n) {
    report_error("cuModuleGetGlobal(%s) is not emulated", n);
    return CUDA_ERROR_NOT_FOUND;
}

API CUresult cuFuncGetAttribute(int *v, CUfunction_attribute a, CUfunction f) {
    switch (a) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *v = 1024;
        break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *v = f->max_dyn;
        break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *v = 32;
        break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *v = 90;
        break;
    default:
        *v = 0;
    }
    return CUDA_SUCCESS;
}

API CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
    if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (v > 232448)
            return CUDA_ERROR_INVALID_VALUE;
        f->max_dyn = v;
    }
    return CUDA_SUCCESS;
}

API CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, CUfunction, int bs, size_t, unsigned) {
    *n = std::max(1, 2048 / std::max(1, bs));
    return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int bs, size_t s) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, bs, s, 0);
}

API CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *g, int *b, CUfunction, CUoccupancyB2DSize, size_t, int,
                                                       unsigned) {
    *g = 264;
    *b = 1024;
    return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxPotentialBlockSize(int *g, int *b, CUfunction f, CUoccupancyB2DSize s, size_t d, int l) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(g, b, f, s, d, l, 0);
}

API CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *n, CUfunction, int, int) {
    *n = 49152;
    return CUDA_SUCCESS;
}
