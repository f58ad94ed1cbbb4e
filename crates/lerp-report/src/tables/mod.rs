//! All tables. In goes an [`Analysis`] of a sweep; out come [`Sheet`]s, which [`write`] formats and the page shows. For a
//! terminal, [`for_terminal`] formats the tables of several sweeps. [`rank_columns`] says which numbers of the tables the
//! variants are ranked by.

mod claims;
mod columns;
mod cost;
mod differences;
mod formats;
mod frame;
mod images;
mod judged;
mod lines;
mod ranks;
mod sheet;
mod terminal;
mod usefulness;
mod user_metrics;

use std::path::Path;

use lerp_files::{make_folder, replace};

use crate::{Result, statistics::Analysis};

pub use ranks::rank_columns;
pub use sheet::Sheet;
pub use terminal::for_terminal;

/// The names of all sheets' files. Those that a report does not write are deleted, since they stem from an earlier one.
const SHEETS: [&str; 10] =
    ["claims", "table1", "table2", "table3", "table4", "table5", "usefulness", "ranks", "further", "cost"];

/// Returns the sheets of a sweep, in the order of the page. If the user's claims cannot be read, a sentence about that
/// is added to `failed`.
pub fn sheets(analysis: &Analysis, failed: &mut Vec<String>) -> Vec<Sheet> {
    let sweep = analysis.sweep;
    let (claims, problem) = claims::sheet(analysis);
    failed.extend(problem.map(|problem| format!("{problem}.")));
    claims
        .into_iter()
        .chain(lines::sheet(sweep))
        .chain(images::sheets(sweep))
        .chain(judged::sheet(analysis))
        .chain(usefulness::sheet(analysis))
        .chain(ranks::sheet(analysis))
        .chain(user_metrics::sheet(sweep))
        .chain(cost::sheet(sweep))
        .collect()
}

/// Writes the sheets in all formats into a folder, and releases the memory of their numbers. Files of sheets that an
/// earlier report wrote and this one does not are deleted, since they would be mistaken for current ones.
pub fn write(sheets: &mut [Sheet], folder: &Path) -> Result<()> {
    make_folder(folder)?;
    for id in SHEETS.iter().filter(|id| !sheets.iter().any(|sheet| sheet.id == **id)) {
        for ending in ["md", "tex", "csv", "parquet"] {
            let _ = std::fs::remove_file(folder.join(id).with_extension(ending));
        }
    }
    for sheet in sheets {
        let file = folder.join(sheet.id);
        let (markdown, latex) = (formats::markdown(sheet), formats::latex(sheet));
        for (ending, text) in [("md", markdown), ("tex", latex), ("csv", sheet.data.csv())] {
            replace(&file.with_extension(ending), text.as_bytes())?;
        }
        replace(&file.with_extension("parquet"), &sheet.data.parquet()?)?;
        sheet.data = frame::Frame::default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{images::ImageTable, lines::METRICS};
    use crate::reading::drawn_metrics;

    #[test]
    fn every_shown_metric_is_measured() {
        let measured: HashSet<&str> = lerp_eval::quantities().map(|quantity| &*quantity.key).collect();
        let tables = METRICS
            .iter()
            .map(|metric| metric.of)
            .chain(ImageTable::ALL.into_iter().flat_map(ImageTable::metrics));
        let shown: Vec<&str> = tables.chain(drawn_metrics()).map(|quantity| &*quantity.key).collect();
        assert!(shown.len() > 20, "{shown:?}");
        for key in shown {
            assert!(measured.contains(key), "nobody measures {key}");
        }
    }
}
