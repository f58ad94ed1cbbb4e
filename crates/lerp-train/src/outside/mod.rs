//! Models that were trained elsewhere: a [`Task`] asks one about images, what it answers is checked and measured as if it
//! were ours ([`Answered`]), and weights of a variant of ours are imported ([`import`]).

mod answers;
mod npy;
mod run;
mod score;
mod task;

pub use run::{Imported, import, is_among, write_run};
pub use score::Answered;
pub use task::{Format, Named, Task, training_images, write_arrays};
