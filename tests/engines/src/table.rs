//! The rows as a table for people: one line a program, one column an engine.

use std::fmt::Write as _;

use anyhow::Result;
use kernels_bench::KERNELS;
use p2pnet_e2e::report::{Row, number};

use crate::{title, variants};

/// What the geometric means are called.
const MEAN: &str = "geometric mean";

/// The geometric mean of each variant's ratios.
pub(crate) fn means(rows: &[Row]) -> Vec<Row> {
    let mean = |variant: &str| {
        let ratios: Vec<f64> = rows.iter().filter(|row| row.variant == variant).filter_map(|row| row.ratio).collect();
        (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
    };
    variants()
        .into_iter()
        .map(|variant| {
            let variant = title(variant);
            let mut row = Row::new(MEAN, &variant, mean(&variant), "times native");
            row.ratio = Some(row.value);
            row
        })
        .collect()
}

/// Ratios to native Rust, and below them what is no ratio.
pub(crate) fn matrix(rows: &[Row]) -> String {
    let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).chain([MEAN]).collect();
    let variants: Vec<String> = variants().into_iter().map(title).collect();
    let mut text = format!("| times native | {} |\n|---|{}\n", variants.join(" | "), "--:|".repeat(variants.len()));
    for name in &names {
        let cell = |variant: &String| {
            let row = rows.iter().find(|row| row.name == *name && row.variant == *variant);
            row.and_then(|row| row.ratio).map(number).unwrap_or_default()
        };
        let cells: Vec<String> = variants.iter().map(cell).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text += "\n| what | where | measured | beside |\n|---|---|--:|---|\n";
    for row in rows.iter().filter(|row| !names.contains(&row.name.as_str())) {
        let _ =
            writeln!(text, "| {} | {} | {} {} | {} |", row.name, row.variant, number(row.value), row.unit, row.beside);
    }
    text
}

/// For a look at one program, without writing anything.
pub(crate) fn print(rows: &[Row]) -> Result<()> {
    for row in rows {
        let ratio = row.ratio.map(number).unwrap_or_default();
        println!("{:20} {:26} {:>9} {} {ratio:>7}", row.name, row.variant, number(row.value), row.unit);
    }
    Ok(())
}
