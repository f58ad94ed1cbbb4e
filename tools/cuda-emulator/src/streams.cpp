// Streams, events and the submission of work. Everything is finished when the call returns; on a capturing stream the
// work is recorded with copies of its arguments instead.
// Rules: a stream argument is a live stream of the current context; the legacy stream must not be used while a blocking
// stream captures; calls that wait or allocate are errors during a capture and make it invalid; events join streams
// into a capture as in the driver, and merges, uncaptured work and events of ended captures are errors.
#include "internal.h"

CUstream_st *resolve(CUstream s) {
    static std::map<CUctx_st *, CUstream_st *> legacy;
    static std::mutex mu;
    static thread_local std::map<CUctx_st *, CUstream_st *> per;
    if (s == (CUstream)2) {
        auto &p = per[current_context];
        if (!p) {
            p = new CUstream_st{current_context, false, nullptr};
            p->special = true;
        }
        return p;
    }
    if (!s || s == (CUstream)1) {
        std::lock_guard<std::mutex> l(mu);
        auto &p = legacy[current_context];
        if (!p) {
            p = new CUstream_st{current_context, false, nullptr};
            p->special = true;
        }
        return p;
    }
    return s;
}

bool is_legacy(CUstream s) { return !s || s == (CUstream)1; }

void invalidate(const std::shared_ptr<Capture> &c, const char *why) {
    if (!c->invalid) {
        c->invalid = true;
        report_error("capture %llu becomes invalid: %s", c->id, why);
    }
}

// Check of a stream argument; returns the object.
CUresult check_stream(CUstream s, CUstream_st **o, const char *fn) {
    if (!current_context) {
        report_error("%s without a current context", fn);
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    *o = resolve(s);
    if (!(*o)->special) {
        std::lock_guard<std::mutex> l(object_mutex);
        if (!live_streams.count(*o)) {
            report_error("%s: stream %p is not a live stream", fn, (void *)s);
            return CUDA_ERROR_INVALID_HANDLE;
        }
    }
    if ((*o)->ctx != current_context) {
        report_error("%s: the stream is of device %d and the current context of device %d", fn, (*o)->ctx->dev,
                     current_context->dev);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (is_legacy(s)) {
        std::lock_guard<std::mutex> l(object_mutex);
        for (auto &c : captures)
            if (!c->origin->nonblocking && c->origin->ctx == current_context) {
                report_error("%s on the legacy stream while a blocking stream captures", fn);
                invalidate(c, fn);
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    }
    if ((*o)->cap && (*o)->cap->invalid)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    return CUDA_SUCCESS;
}

CUresult not_during_capture(const char *fn) {
    std::lock_guard<std::mutex> l(object_mutex);
    CUresult r = CUDA_SUCCESS;
    for (auto &c : captures) {
        bool own = c->thread == std::this_thread::get_id() && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
        bool glob = c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (own || glob) {
            report_error("%s is not permitted while %s captures", fn,
                         own ? "this thread" : "another thread (global mode)");
            invalidate(c, fn);
            r = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return r;
}

CUresult unsupported(CUstream_st *s, const char *fn) {
    report_error("%s on a capturing stream", fn);
    std::lock_guard<std::mutex> l(object_mutex);
    invalidate(s->cap, fn);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

bool is_capturing(CUstream s) { return resolve(s)->cap != nullptr; }

CUresult submit(CUstream hs, int kind, const char *name, std::function<CUresult()> f) {
    CUstream_st *s;
    CUresult r = check_stream(hs, &s, name);
    if (r)
        return r;
    if (s->cap) {
        std::lock_guard<std::mutex> l(object_mutex);
        s->cap->nodes.push_back({kind, name, std::move(f)});
        if (s != s->cap->origin)
            s->joined_unwaited = true;
        return CUDA_SUCCESS;
    }
    return f();
}

API CUresult cuStreamCreate(CUstream *s, unsigned flags) {
    NEED_CTX;
    auto p = new CUstream_st{current_context, (flags & CU_STREAM_NON_BLOCKING) != 0, nullptr};
    std::lock_guard<std::mutex> l(object_mutex);
    live_streams.insert(p);
    *s = p;
    return CUDA_SUCCESS;
}

API CUresult cuStreamCreateWithPriority(CUstream *s, unsigned flags, int) { return cuStreamCreate(s, flags); }

API CUresult cuStreamDestroy_v2(CUstream s) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r == CUDA_ERROR_INVALID_HANDLE || r == CUDA_ERROR_INVALID_CONTEXT)
        return r;
    if (o->cap) {
        report_error("cuStreamDestroy of a capturing stream");
        std::lock_guard<std::mutex> l(object_mutex);
        invalidate(o->cap, "stream destroyed");
        captures.erase(std::remove(captures.begin(), captures.end(), o->cap), captures.end());
    }
    std::lock_guard<std::mutex> l(object_mutex);
    live_streams.erase(o);
    return CUDA_SUCCESS; // leaked on purpose
}

API CUresult cuStreamSynchronize(CUstream s) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    if (o->cap)
        return unsupported(o, __func__);
    return CUDA_SUCCESS;
}

API CUresult cuStreamAttachMemAsync(CUstream, CUdeviceptr, size_t, unsigned) { return CUDA_SUCCESS; }

API CUresult cuCtxSynchronize() {
    NEED_CTX;
    CUresult r = not_during_capture(__func__);
    if (r)
        return r;
    std::lock_guard<std::mutex> l(object_mutex);
    for (auto &c : captures)
        if (c->origin->ctx == current_context) {
            report_error("cuCtxSynchronize while a stream of the context captures");
            invalidate(c, "cuCtxSynchronize");
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    return CUDA_SUCCESS;
}

// events
#define NEED_EVENT(e)                                                                                                  \
    {                                                                                                                  \
        std::lock_guard<std::mutex> l_(object_mutex);                                                                  \
        if (!live_events.count(e)) {                                                                                   \
            report_error("%s: %p is not a live event", __func__, (void *)(e));                                         \
            return CUDA_ERROR_INVALID_HANDLE;                                                                          \
        }                                                                                                              \
    }

API CUresult cuEventCreate(CUevent *e, unsigned flags) {
    NEED_CTX;
    auto p = new CUevent_st{current_context, flags};
    std::lock_guard<std::mutex> l(object_mutex);
    live_events.insert(p);
    *e = p;
    return CUDA_SUCCESS;
}

API CUresult cuEventDestroy_v2(CUevent e) {
    NEED_EVENT(e);
    {
        std::lock_guard<std::mutex> l(object_mutex);
        live_events.erase(e);
    }
    delete e;
    return CUDA_SUCCESS;
}

API CUresult cuEventRecordWithFlags(CUevent e, CUstream s, unsigned) {
    NEED_EVENT(e);
    CUstream_st *o;
    CUresult r = check_stream(s, &o, "cuEventRecord");
    if (r)
        return r;
    if (e->ctx != o->ctx) {
        report_error("cuEventRecord: event and stream are of different contexts");
        return CUDA_ERROR_INVALID_HANDLE;
    }
    e->recorded = true;
    e->time = now();
    e->cap = o->cap;
    e->cap_stream = o->cap ? o : nullptr;
    return CUDA_SUCCESS;
}

API CUresult cuEventRecord(CUevent e, CUstream s) { return cuEventRecordWithFlags(e, s, 0); }

API CUresult cuEventQuery(CUevent e) {
    NEED_EVENT(e);
    if (e->cap) {
        report_error("cuEventQuery of an event recorded in a capture");
        if (!e->cap->invalid) {
            std::lock_guard<std::mutex> l(object_mutex);
            invalidate(e->cap, "cuEventQuery");
        }
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    return not_during_capture(__func__);
}

API CUresult cuEventSynchronize(CUevent e) {
    NEED_EVENT(e);
    if (e->cap) {
        report_error("cuEventSynchronize of an event recorded in a capture");
        {
            std::lock_guard<std::mutex> l(object_mutex);
            invalidate(e->cap, "cuEventSynchronize");
        }
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    return not_during_capture(__func__);
}

API CUresult cuEventElapsedTime_v2(float *ms, CUevent a, CUevent b) {
    NEED_EVENT(a);
    NEED_EVENT(b);
    if (!a->recorded || !b->recorded || (a->flags & CU_EVENT_DISABLE_TIMING) || (b->flags & CU_EVENT_DISABLE_TIMING) ||
        a->cap || b->cap) {
        report_error("cuEventElapsedTime: an event is not recorded, is captured, or has no timing");
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *ms = (float)((b->time - a->time) * 1e3);
    return CUDA_SUCCESS;
}

#undef cuEventElapsedTime

API CUresult cuEventElapsedTime(float *ms, CUevent a, CUevent b) { return cuEventElapsedTime_v2(ms, a, b); }

API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
    NEED_EVENT(e);
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    std::lock_guard<std::mutex> l(object_mutex);
    if (o->cap) {
        if (flags & 1)
            return CUDA_SUCCESS; // CU_EVENT_WAIT_EXTERNAL
        if (!e->recorded)
            return CUDA_SUCCESS;
        if (e->cap == o->cap) {
            if (o == o->cap->origin && e->cap_stream)
                e->cap_stream->joined_unwaited = false;
            return CUDA_SUCCESS;
        }
        if (e->cap) {
            report_error("cuStreamWaitEvent would merge two captures");
            invalidate(o->cap, "merge");
            return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        }
        report_error("cuStreamWaitEvent: a capturing stream waits for an event recorded outside of the capture");
        invalidate(o->cap, "isolation");
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (e->cap) {
        bool alive = false;
        for (auto &c : captures)
            if (c == e->cap)
                alive = true;
        if (!alive) {
            report_error("cuStreamWaitEvent: the event was recorded in a capture that has ended");
            return CUDA_ERROR_INVALID_VALUE;
        }
        o->cap = e->cap;
        e->cap->streams.insert(o);
        o->joined_unwaited = true;
    }
    return CUDA_SUCCESS;
}

API CUresult cuLaunchHostFunc(CUstream s, CUhostFn f, void *d) {
    return submit(s, NODE_HOST, "cuLaunchHostFunc", [=] {
        f(d);
        return CUDA_SUCCESS;
    });
}
