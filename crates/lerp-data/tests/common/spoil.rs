//! Files that are damaged at random.

use proptest::prelude::*;

/// A file, cut off and with some bytes changed.
pub fn spoil(bytes: &[u8], keep: f64, changes: &[(f64, u8)]) -> Vec<u8> {
    let mut bytes = bytes[..(bytes.len() as f64 * keep) as usize].to_vec();
    for (place, value) in changes {
        let place = (bytes.len() as f64 * place) as usize;
        if let Some(byte) = bytes.get_mut(place) {
            *byte = *value;
        }
    }
    bytes
}

/// How much of a file is kept, and which of its bytes are changed.
pub fn spoiled() -> impl Strategy<Value = (f64, Vec<(f64, u8)>)> {
    let keep = prop_oneof![3 => Just(1.0), 1 => 0.0..1.0];
    // Half of the changes where files keep their sizes: at the beginning and at the end.
    let place = prop_oneof![0.0..1.0, 0.0..0.02, 0.9..1.0];
    (keep, prop::collection::vec((place, any::<u8>()), 0..6))
}
