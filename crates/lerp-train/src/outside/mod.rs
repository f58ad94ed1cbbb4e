//! Models that were trained elsewhere. A [`Task`] lists images for such a model to encode and decode; its answers
//! are checked and measured like a model of this workspace ([`Answered`]). Weights of a built-in variant can also
//! be imported ([`import`]).

mod answers;
mod npy;
mod run;
mod score;
mod task;

pub use run::{Imported, import, is_among, write_run};
pub use score::Answered;
pub use task::{Format, Named, Task, training_images, write_arrays};
