//! `lerp watch`: shows a sweep while it is trained.

use std::io::IsTerminal;

use anyhow::Result;

use crate::{
    cli::WatchArgs,
    say::{is_dumb, say_lines},
};

/// Shows a sweep until the user quits, or prints one table if that is asked for or nothing can be drawn on standard
/// output. Returns `false` if a file that the table needs is damaged.
///
/// # Errors
/// If there is no sweep in the folder, or the terminal cannot be drawn on.
pub fn watch(args: &WatchArgs) -> Result<bool> {
    if args.once || is_dumb() || !std::io::stdout().is_terminal() {
        let snapshot = lerp_watch::snapshot(&args.dir)?;
        say_lines(snapshot.table.trim_end());
        return Ok(!snapshot.is_damaged);
    }
    lerp_watch::watch(&args.dir)?;
    Ok(true)
}
