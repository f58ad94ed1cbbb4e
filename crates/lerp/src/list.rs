//! `lerp list`: prints the variants, datasets, metrics and presets that a command line can name.

use anyhow::Result;

use crate::{
    plan::{PRESETS, Plan},
    registry::Registry,
    say::say,
};

/// Runs `lerp list`. Always returns `true`.
///
/// # Errors
/// If a preset cannot be read.
pub fn list(registry: &Registry) -> Result<bool> {
    say("variants:");
    registry.all().iter().for_each(|variant| say(&format!("  {:<10} {}", variant.name(), variant.title())));
    say("datasets:");
    registry.dataset_names().for_each(|name| say(&format!("  {name}")));
    say("  and your own: images:DIR, idx:DIR, parquet:PATH");
    say("metrics:");
    let own = registry.metrics().iter().flat_map(|metric| lerp_eval::recorded(*metric));
    for quantity in lerp_eval::quantities().cloned().chain(own) {
        let better = match quantity.better.words() {
            "" => String::new(),
            words => format!(" ({words})"),
        };
        say(&format!("  {:<29} {}{better}", quantity.key, quantity.title));
    }
    say("presets:");
    for (name, _) in PRESETS {
        say(&format!("  {name:<10} {}", Plan::preset(name)?.about));
    }
    Ok(true)
}
