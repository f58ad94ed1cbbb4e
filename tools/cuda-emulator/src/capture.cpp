// Stream capture and graphs. A graph is the list of the recorded operations in the order of their submission; a launch
// runs them in this order.
// Rules: a capture ends on the stream and (unless relaxed) the thread where it began, valid and with all forked streams
// joined; memory that the graph allocates and does not free must be freed between launches (or the graph be
// instantiated with auto-free). The end of each capture is reported with its counts; EMU_VERBOSE=1 adds the kernels.
#include "internal.h"

API CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode) {
    if (is_legacy(s)) {
        report_error("cuStreamBeginCapture on the legacy default stream");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    if (o->cap) {
        report_error("cuStreamBeginCapture on a stream that captures already");
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    static std::atomic<unsigned long long> ids{1};
    auto c = std::make_shared<Capture>();
    c->origin = o;
    c->mode = mode;
    c->thread = std::this_thread::get_id();
    c->streams.insert(o);
    c->id = ids++;
    std::lock_guard<std::mutex> l(object_mutex);
    captures.push_back(c);
    o->cap = c;
    return CUDA_SUCCESS;
}

static const char *kind_name[] = {"kernel", "memcpy", "memset", "alloc", "free", "gemm", "conv", "host", "event"};

API CUresult cuStreamEndCapture(CUstream s, CUgraph *g) {
    if (g)
        *g = nullptr;
    NEED_CTX;
    CUstream_st *o = resolve(s);
    if (!o->cap) {
        report_error("cuStreamEndCapture on a stream that does not capture");
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    auto c = o->cap;
    if (c->origin != o) {
        report_error("cuStreamEndCapture on another stream than the capture began on");
        std::lock_guard<std::mutex> l(object_mutex);
        invalidate(c, "unmatched end");
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != std::this_thread::get_id()) {
        report_error("cuStreamEndCapture on another thread");
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    bool unjoined = false;
    {
        std::lock_guard<std::mutex> l(object_mutex);
        for (auto x : c->streams) {
            if (x != o && x->joined_unwaited)
                unjoined = true;
            x->cap = nullptr;
            x->joined_unwaited = false;
        }
        captures.erase(std::remove(captures.begin(), captures.end(), c), captures.end());
    }
    if (c->invalid) {
        report_error("cuStreamEndCapture: capture %llu is invalid", c->id);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (unjoined) {
        report_error("cuStreamEndCapture: a forked stream was not joined");
        return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    auto G = std::make_shared<CUgraph_st>();
    G->nodes = c->nodes;
    G->allocs = c->allocs;
    for (auto p : c->allocs)
        if (!c->freed.count(p))
            G->unfreed.insert(p);
    {
        std::lock_guard<std::mutex> l(memory_mutex);
        for (auto p : c->allocs) {
            auto it = live_memory.find(p);
            if (it != live_memory.end()) {
                it->second.live = false;
                poison((void *)p, it->second.bytes);
            }
        }
    }
    {
        std::lock_guard<std::mutex> l(object_mutex);
        graphs[G.get()] = G;
    }
    *g = G.get();
    int n[NODE_KINDS] = {};
    std::map<string, int> names;
    for (auto &x : G->nodes) {
        n[x.kind]++;
        names[string(kind_name[x.kind]) + ":" + x.name]++;
    }
    string line;
    for (int i = 0; i < NODE_KINDS; i++)
        if (n[i])
            line += " " + string(kind_name[i]) + " " + std::to_string(n[i]);
    report_note("capture ended: %zu nodes:%s; graph memory %zu blocks, %zu not freed in the graph", G->nodes.size(),
                line.c_str(), G->allocs.size(), G->unfreed.size());
    if (env_switch("EMU_VERBOSE"))
        for (auto &x : names)
            report_note("    %5d %s", x.second, x.first.c_str());
    return CUDA_SUCCESS;
}

API CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *st) {
    NEED_CTX;
    CUstream_st *o = resolve(s);
    if (is_legacy(s)) {
        std::lock_guard<std::mutex> l(object_mutex);
        for (auto &c : captures)
            if (!c->origin->nonblocking && c->origin->ctx == current_context)
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    *st = !o->cap           ? CU_STREAM_CAPTURE_STATUS_NONE
          : o->cap->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                            : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

// graphs

API CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long flags) {
    std::lock_guard<std::mutex> l(object_mutex);
    auto it = graphs.find(g);
    if (it == graphs.end()) {
        report_error("cuGraphInstantiate: not a graph");
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (flags & ~15ull)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) {
        report_error("device launch of graphs is not emulated");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    *e = new CUgraphExec_st{it->second, (flags & CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) != 0};
    return CUDA_SUCCESS;
}

API CUresult cuGraphUpload(CUgraphExec, CUstream s) {
    CUstream_st *o;
    return check_stream(s, &o, __func__);
}

API CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    if (o->cap) {
        report_error("cuGraphLaunch on a capturing stream (child graphs) is not emulated");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    auto G = e->graph;
    {
        std::lock_guard<std::mutex> l(memory_mutex);
        for (auto p : G->unfreed) {
            auto it = live_memory.find(p);
            if (it != live_memory.end() && it->second.live) {
                if (e->autofree)
                    it->second.live = false;
                else {
                    report_error("cuGraphLaunch: the graph's memory %p (%zu bytes) of its last launch was not freed",
                                 (void *)p, it->second.bytes);
                    return CUDA_ERROR_INVALID_VALUE;
                }
            }
        }
    }
    for (auto &n : G->nodes) {
        r = n.run();
        if (r) {
            report_error("graph node %s (%s) failed: %d", n.name.c_str(), kind_name[n.kind], r);
            return r;
        }
    }
    return CUDA_SUCCESS;
}

static void graph_free_mem(CUgraph_st &g) {
    std::lock_guard<std::mutex> l(memory_mutex);
    for (auto p : g.allocs) {
        auto it = live_memory.find(p);
        if (it != live_memory.end() && !it->second.live) {
            mem_free_locked(it, "graph destroy");
        }
    }
    g.allocs.clear();
}

API CUresult cuGraphExecDestroy(CUgraphExec e) {
    auto g = e->graph;
    delete e;
    std::lock_guard<std::mutex> l(object_mutex);
    if (!graphs.count(g.get()) && g.use_count() == 1)
        graph_free_mem(*g);
    return CUDA_SUCCESS;
}

API CUresult cuGraphDestroy(CUgraph g) {
    std::lock_guard<std::mutex> l(object_mutex);
    auto it = graphs.find(g);
    if (it == graphs.end()) {
        report_error("cuGraphDestroy: not a graph");
        return CUDA_ERROR_INVALID_VALUE;
    }
    auto G = it->second;
    graphs.erase(it);
    if (G.use_count() == 1)
        graph_free_mem(*G);
    return CUDA_SUCCESS;
}

API CUresult cuGraphGetNodes(CUgraph g, CUgraphNode *nodes, size_t *n) {
    std::lock_guard<std::mutex> l(object_mutex);
    auto it = graphs.find(g);
    if (it == graphs.end())
        return CUDA_ERROR_INVALID_VALUE;
    auto &v = it->second->nodes;
    if (nodes) {
        for (size_t i = 0; i < *n; i++)
            nodes[i] = i < v.size() ? (CUgraphNode)&v[i] : nullptr;
    }
    *n = nodes ? std::min(*n, v.size()) : v.size();
    return CUDA_SUCCESS;
}
