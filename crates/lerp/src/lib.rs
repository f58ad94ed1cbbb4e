//! How well do autoencoders interpolate? The command: sweep, train, report, verify, bench.
