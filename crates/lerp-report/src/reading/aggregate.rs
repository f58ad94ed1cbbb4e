//! Aggregation of metrics over seeds, joined with the paper's numbers, as data frames.

use std::sync::Arc;

use lerp_data::Lines;
use lerp_eval::{
    Quantity,
    quantity::{CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS},
};
use polars::{
    prelude::{
        BooleanChunked, ChunkApply, Column, DataFrame, DataFrameJoinOps, DataType, IntoColumn, JoinArgs,
        JoinType, MaintainOrderJoin, PolarsResult,
    },
    series::IsSorted,
};

use super::group::{Aggregate, Estimate, RunGroup};
use crate::paper::{PublishedNumber, PublishedRow, published};

/// The column that numbers the pairs of a configuration and a metric, and the column of a run's final values.
const CELL: &str = "cell";
const VALUE: &str = "value";
/// The columns that the paper's numbers are joined on.
const KEYS: [&str; 4] = ["dataset", "latent", "variant", "metric"];

/// Computes mean, standard deviation and the paper's number of every metric of every configuration, over its finished
/// runs.
pub fn aggregate(groups: &mut [RunGroup]) -> PolarsResult<()> {
    let paper = paper()?;
    let (mut pairs, mut cells, mut values) = (Vec::new(), Vec::<u32>::new(), Vec::<f64>::new());
    for (index, group) in groups.iter().enumerate() {
        // The published metrics are included even without a finished run, so that the paper's number is shown.
        let mut names: Vec<Arc<str>> = PUBLISHED.iter().map(|quantity| (*quantity.key).into()).collect();
        names.extend(group.done().flat_map(|loaded| &loaded.finals).map(|found| found.name.clone()));
        names.sort_unstable();
        names.dedup();
        for name in names {
            let finals = group.done().filter_map(|loaded| loaded.final_value(&name));
            values.extend(finals);
            cells.resize(values.len(), pairs.len() as u32);
            pairs.push((index, name));
        }
    }
    let table = join_keys(groups, &pairs)?
        .join(&moments(cells, &values)?, [CELL], [CELL], left(), None)?
        .join(&paper, KEYS, KEYS, left(), None)?;
    let (runs, known) = (table.column("runs")?.u32()?, table.column("known")?.u32()?);
    let real = |name: &str| table.column(name).and_then(Column::f64);
    let (mean, std, paper_mean, paper_std) =
        (real("mean")?, real("std")?, real("paper_mean")?, real("paper_std")?);
    let checked = table.column("paper_checked")?.bool()?;
    for (row, (index, name)) in pairs.into_iter().enumerate() {
        let estimate = match (runs.get(row), known.get(row), mean.get(row), std.get(row)) {
            (_, Some(n), Some(mean), Some(std)) => Estimate::Known { mean, std, n: n as usize },
            (Some(_), ..) => Estimate::Undefined,
            _ => Estimate::Missing,
        };
        let paper = paper_mean.get(row).map(|mean| PublishedNumber {
            mean,
            std: paper_std.get(row),
            mean_checked: checked.get(row).unwrap_or(false),
        });
        groups[index].aggregates.insert(name, Aggregate { estimate, paper });
    }
    Ok(())
}

/// Returns the options of a left join that keeps the order of rows.
fn left() -> JoinArgs {
    JoinArgs { maintain_order: MaintainOrderJoin::Left, ..JoinArgs::new(JoinType::Left) }
}

/// Returns the join keys of each pair of a configuration and a metric. On lines the latent size is 0.
fn join_keys(groups: &[RunGroup], pairs: &[(usize, Arc<str>)]) -> PolarsResult<DataFrame> {
    let text = |of: &dyn Fn(&RunGroup) -> String| -> Vec<String> {
        pairs.iter().map(|(index, _)| of(&groups[*index])).collect()
    };
    let size = |(index, _): &(usize, _)| groups[*index].set.as_ref().map_or(0, |set| set.dims as i64);
    let columns = vec![
        Column::new(CELL.into(), (0..pairs.len() as u32).collect::<Vec<_>>()),
        Column::new(KEYS[0].into(), text(&|group| group.dataset().to_owned())),
        Column::new(KEYS[1].into(), pairs.iter().map(size).collect::<Vec<_>>()),
        Column::new(KEYS[2].into(), text(&|group| group.cell().variant.clone())),
        Column::new(KEYS[3].into(), pairs.iter().map(|(_, name)| &**name).collect::<Vec<_>>()),
    ];
    DataFrame::new(pairs.len(), columns)
}

/// Computes for each cell the number of runs that measured it, the number of finite values, and the mean and standard
/// deviation (divisor n) of the finite values.
///
/// For groups of arbitrary rows, polars sums by Kahan's method and computes standard deviations by Welford's. Both
/// differ from [`lerp_eval::Sample::of`] in the last bits, which would show in the CSV files. Groups of a sorted key are
/// contiguous, and polars sums them in plain order (in blocks from 128 values on). The data are therefore kept sorted
/// by one key, and the deviation is computed from the mean.
// These functions are deprecated in favour of the lazy query engine, whose cost in build time the manifest explains.
#[allow(deprecated)]
fn moments(cells: Vec<u32>, values: &[f64]) -> PolarsResult<DataFrame> {
    let measured = by_cell(Column::new(CELL.into(), cells), &Column::new(VALUE.into(), values))?;
    let finite: BooleanChunked = values.iter().map(|value| Some(value.is_finite())).collect();
    let known = measured.filter(&finite)?;
    let known = by_cell(known.column(CELL)?.clone(), known.column(VALUE)?)?;
    let mut means = known.group_by([CELL])?.select([VALUE]).mean()?;
    means.rename("value_mean", "mean".into())?;
    let beside = known.join(&means, [CELL], [CELL], left(), None)?;
    let deviation = (beside.column(VALUE)? - beside.column("mean")?)?;
    let squared = (&deviation * &deviation)?.with_name(VALUE.into());
    let squares = by_cell(beside.column(CELL)?.clone(), &squared)?.group_by([CELL])?.select([VALUE]).sum()?;
    let mut counts = known.group_by([CELL])?.select([VALUE]).count()?;
    counts.rename("value_count", "known".into())?;
    let mut moments =
        means.join(&counts, [CELL], [CELL], left(), None)?.join(&squares, [CELL], [CELL], left(), None)?;
    let variance = (moments.column("value_sum")? / &moments.column("known")?.cast(&DataType::Float64)?)?;
    let std = variance.f64()?.apply_values(f64::sqrt);
    moments.with_column(std.into_column().with_name("std".into()))?;
    let mut runs = measured.group_by([CELL])?.select([VALUE]).count()?;
    runs.rename("value_count", "runs".into())?;
    runs.join(&moments, [CELL], [CELL], left(), None)
}

/// Returns a frame of cells and values, marked as sorted by cell.
fn by_cell(mut cell: Column, value: &Column) -> PolarsResult<DataFrame> {
    cell = cell.rechunk();
    cell.set_sorted_flag(IsSorted::Ascending);
    DataFrame::new(cell.len(), vec![cell, value.rechunk()])
}

/// The metrics that the paper has numbers of.
const PUBLISHED: [&Quantity; 4] = [&MEAN_DISTANCE, &MEAN_SMOOTHNESS, &CLASSIFIER_ACCURACY, &CLUSTER_ACCURACY];

/// Returns the paper's numbers with the columns of [`KEYS`].
fn paper() -> PolarsResult<DataFrame> {
    let all = published();
    let mut rows: Vec<(&str, i64, &str, &str, PublishedNumber)> = Vec::new();
    for variant in &all.order {
        for quantity in [&MEAN_DISTANCE, &MEAN_SMOOTHNESS] {
            rows.extend(
                all.lines(quantity, variant)
                    .map(|number| (Lines::NAME, 0, &**variant, &*quantity.key, number)),
            );
        }
        let tables: [(&Quantity, &[PublishedRow]); 2] =
            [(&CLASSIFIER_ACCURACY, &all.classifier), (&CLUSTER_ACCURACY, &all.clustering)];
        for (quantity, table) in tables {
            rows.extend(table.iter().filter_map(|row| {
                Some((&*row.dataset, row.dims as i64, &**variant, &*quantity.key, row.number(variant)?))
            }));
        }
    }
    let columns = vec![
        Column::new(KEYS[0].into(), rows.iter().map(|row| row.0).collect::<Vec<_>>()),
        Column::new(KEYS[1].into(), rows.iter().map(|row| row.1).collect::<Vec<_>>()),
        Column::new(KEYS[2].into(), rows.iter().map(|row| row.2).collect::<Vec<_>>()),
        Column::new(KEYS[3].into(), rows.iter().map(|row| row.3).collect::<Vec<_>>()),
        Column::new("paper_mean".into(), rows.iter().map(|row| row.4.mean).collect::<Vec<_>>()),
        Column::new("paper_std".into(), rows.iter().map(|row| row.4.std).collect::<Vec<_>>()),
        Column::new("paper_checked".into(), rows.iter().map(|row| row.4.mean_checked).collect::<Vec<_>>()),
    ];
    DataFrame::new(rows.len(), columns)
}

#[cfg(test)]
mod tests {
    use lerp_eval::Sample;

    use super::*;

    #[test]
    fn means_and_deviations_are_bit_identical_to_plain_sums() {
        let seeds: [&[f64]; 4] = [
            &[0.1, 0.7, 0.3, 1e-9, 0.2],
            &[f64::NAN, 1.0 / 3.0, f64::INFINITY, 0.1, 0.2, 0.3],
            &[f64::NAN],
            &[5.0],
        ];
        let cells =
            seeds.iter().zip(0..).flat_map(|(values, cell)| values.iter().map(move |_| cell)).collect();
        let table = moments(cells, &seeds.concat()).unwrap();
        assert_eq!(table.height(), seeds.len());
        for (row, values) in seeds.iter().enumerate() {
            let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let whole = |name: &str| table.column(name).unwrap().u32().unwrap().get(row);
            let bits = |name: &str| table.column(name).unwrap().f64().unwrap().get(row).map(f64::to_bits);
            assert_eq!(whole("runs"), Some(values.len() as u32));
            if known.is_empty() {
                assert_eq!((whole("known"), bits("mean"), bits("std")), (None, None, None));
            } else {
                let Sample { mean, std, .. } = Sample::of(&known);
                assert_eq!(whole("known"), Some(known.len() as u32));
                assert_eq!((bits("mean"), bits("std")), (Some(mean.to_bits()), Some(std.to_bits())));
            }
        }
    }

    #[test]
    fn the_papers_numbers_are_all_there() {
        let table = paper().unwrap();
        // Seven variants: two numbers each on lines, six image sets in Table 2, four in Table 3.
        assert_eq!(table.height(), 7 * (2 + 6 + 4));
    }
}
