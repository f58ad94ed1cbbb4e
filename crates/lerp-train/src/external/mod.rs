//! Models that were trained with other software. A [`Task`] lists images for such a model to encode and decode;
//! its answers are checked and measured like a model of this workspace ([`TaskAnswers`]). Weights of a built-in
//! variant can also be imported ([`import`]).

mod arrays;
mod npy;
mod run;
mod task;
mod task_answers;

pub use run::{ImportedModel, ModelFile, contains_run, import, write_run};
pub use task::{ArrayFormat, NamedArray, Task, training_images, write_arrays};
pub use task_answers::TaskAnswers;
