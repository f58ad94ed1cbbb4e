//! The table of average ranks of the variants over all other tables.

use super::{
    frame::Frame,
    images::ImageTable,
    lines::published_metrics,
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    provenance::ReportProvenance,
    reading::{RunGroup, Sweep, dataset_of},
    statistics::{Analysis, RankColumn, Ranks},
    text::{fixed, listed, number},
};

/// Returns the columns that variants are ranked by: the metrics of Table 1 that the paper has, and those of the tables of
/// image sets.
pub fn rank_columns(sweep: &Sweep) -> Vec<RankColumn<'_>> {
    let lines =
        published_metrics().map(|metric| RankColumn { metric: metric.of, set: None, table: "Table 1" });
    let images = sweep.sets().into_iter().flat_map(|set| {
        ImageTable::ALL.map(|kind| RankColumn { metric: kind.metric(), set: Some(set), table: kind.name() })
    });
    lines.chain(images).collect()
}

/// Returns the table of ranks, or `None` if fewer than two variants are in two tables.
pub fn sheet(analysis: &Analysis) -> Option<Sheet> {
    let ranks = analysis.ranks.as_ref()?;
    let groups = ranks.groups();
    let provenance = analysis.sweep.provenance(&groups);
    let mut headings = vec!["Variant".to_owned(), "Average rank".to_owned()];
    headings.extend(ranks.columns.iter().map(RankColumn::name));
    let line = |(i, (title, _)): (usize, &(String, Vec<&RunGroup>))| {
        let mean = ranks.ranking.mean[i];
        let own = [Entry::plain(title.clone()), Entry::number(fixed(mean, 2), mean)];
        let in_columns = ranks.ranking.ranks.iter().map(|ranks| Entry::number(number(ranks[i]), ranks[i]));
        own.into_iter().chain(in_columns).collect::<TableLine>()
    };
    let mut tables: Vec<&str> = ranks.columns.iter().map(|column| column.table).collect();
    tables.sort_unstable();
    tables.dedup();
    let table = Table {
        name: "Ranks".into(),
        caption: format!(
            "Ranks over {} columns of {}, 1 for the best mean over seeds, and their average (Demšar, 2006). {} Columns of one dataset are \
             measured on the same models and are not independent, so the tests make too much of them.",
            ranks.columns.len(),
            listed(&tables, 8, ", "),
            ranks.sentences()
        ),
        label: "tab:ranks".into(),
        headings,
        left: 1,
        lines: ranks.variants.iter().enumerate().map(line).collect(),
        ..Table::about(analysis.sweep, &groups)
    };
    Some(Sheet { id: "ranks", title: "Ranks", tables: vec![table], data: data(ranks, &provenance) })
}

fn data(ranks: &Ranks, provenance: &ReportProvenance) -> Frame {
    let mut frame = Frame::new([
        "variant",
        "title",
        "average_rank",
        "dataset",
        "latent_dims",
        "metric",
        "rank",
        "friedman_p",
        "critical_difference",
    ]);
    for (i, (title, groups)) in ranks.variants.iter().enumerate() {
        for (column, in_column) in ranks.columns.iter().zip(&ranks.ranking.ranks) {
            let row = vec![
                ("variant", groups[0].cell().variant.as_str().into()),
                ("title", title.as_str().into()),
                ("average_rank", ranks.ranking.mean[i].into()),
                ("dataset", dataset_of(column.set).into()),
                ("latent_dims", column.set.map(|set| set.dims).into()),
                ("metric", column.metric.name().into()),
                ("rank", in_column[i].into()),
                ("friedman_p", ranks.ranking.friedman_p.into()),
                ("critical_difference", ranks.ranking.critical_difference.into()),
            ];
            frame.push(row, Some(provenance));
        }
    }
    frame
}
