//! Tests of plans: presets, changes by the command line, and error messages.

use lerp_core::Network;

use super::*;

fn cells_of(plan: &Plan) -> Result<Vec<Cell>> {
    let registry = Registry::default();
    plan.cells(&registry, &DatasetCache::new(&registry, None))
}

fn cells(preset: &str, overrides: &Overrides) -> Result<Vec<Cell>> {
    let mut plan = Plan::preset(preset)?;
    plan.apply(overrides)?;
    cells_of(&plan)
}

#[test]
fn the_lines_preset_is_the_protocol() {
    let cells = cells("lines", &Overrides::default()).unwrap();
    assert_eq!(cells.len(), 35);
    let ids: std::collections::BTreeSet<String> = cells.iter().map(Cell::id).collect();
    assert_eq!(ids.len(), 35);
    for cell in &cells {
        assert_eq!((cell.samples, cell.batch, cell.learning_rate), (1 << 24, 64, 1e-4));
        assert_eq!((cell.eval_every, cell.steps()), (1 << 16, 1 << 18));
        let scales = if cell.variant == "vqvae" { 3 } else { 4 };
        assert_eq!(cell.network, Network { scales, depth: 16, latent: 16 }.into());
    }
}

/// The id of a cell is a hash of its JSON, which depends on how numbers such as 1e-5 are written.
#[test]
fn cells_of_presets_keep_the_ids_of_published_runs() {
    for (preset, id) in [("quick", "lines-vqvae-s0-4499ce57"), ("quick", "lines-acai-s0-5917c9bd")] {
        let cells = cells(preset, &Overrides::default()).unwrap();
        assert!(
            cells.iter().any(|cell| cell.id() == id),
            "{id}: {:?}",
            cells.iter().map(Cell::id).collect::<Vec<_>>()
        );
    }
}

#[test]
fn fewer_samples_keep_the_number_of_evaluations() {
    let overrides = Overrides { samples: Some(1 << 20), ..Overrides::default() };
    for cell in cells("lines", &overrides).unwrap() {
        assert_eq!((cell.samples, cell.eval_every), (1 << 20, 1 << 12));
        assert_eq!(cell.checkpoint_every, cell.eval_every);
    }
    let own = "datasets=['lines']\nvariants=['vae']\nseeds=0\nsamples=0\n[variant.vae]\nsamples=1000\neval_every=10";
    let mut plan = Plan::parse(own).unwrap();
    plan.apply(&Overrides { samples: Some(500), ..Overrides::default() }).unwrap();
    let cell = &cells_of(&plan).unwrap()[0];
    assert_eq!((cell.samples, cell.eval_every), (500, 5));
}

#[test]
fn schedules_and_averages_are_settings_of_a_plan() {
    let plan = |settings: &str| {
        let text = format!("datasets=['lines']\nvariants=['vae','acai']\nseeds=0\n{settings}");
        cells_of(&Plan::parse(&text)?)
    };
    let all = plan(
        "schedule='cosine,from=0.5'\nema=0.99\n[variant.acai]\nema=0\nschedule={decay='cosine',floor=0.1,warmup=3}",
    );
    let all = all.unwrap();
    let text = |cell: &Cell| (cell.schedule.to_string(), cell.ema);
    assert_eq!(text(&all[0]), ("cosine to 0 over the last 50 %".into(), Some(0.99)));
    assert_eq!(text(&all[1]), ("cosine to 10 % of its peak after 3 steps of warm-up".into(), None));
    // Default settings are not written into a cell, so that cells keep the names that they had before schedules
    // existed.
    let plain = plan("").unwrap();
    assert_eq!(plain[0].id(), plan("schedule='constant'\nema=0").unwrap()[0].id());
    assert_ne!(plain[0].id(), all[0].id());
    for (bad, why) in [
        ("schedule='linear'", "neither constant nor cosine"),
        ("schedule={decay='cosine',to=0.1}", "unknown field `to`"),
        ("schedule={decay='cosine',from=1}", "from must be at least 0 and below 1"),
        ("schedule=3", "schedule: give a text such as"),
        ("ema=1", "ema must be above 0 and below 1"),
    ] {
        let error = format!("{:#}", plan(bad).unwrap_err());
        assert!(error.contains(why), "{bad}: {error}");
    }
    let given =
        Overrides { schedule: Some("cosine".parse().unwrap()), ema: Some(0.0), ..Overrides::default() };
    let over = cells("smoke", &given).unwrap();
    assert!(over.iter().all(|cell| text(cell) == ("cosine to 0".into(), None)));
}

#[test]
fn a_hyperparameter_of_a_later_version_is_not_written_when_it_is_off() {
    let of = |set: &str| {
        let overrides = Overrides { set: vec![set.into()], ..Overrides::default() };
        cells("lines", &overrides).unwrap().into_iter().find(|cell| cell.variant == "vqvae").unwrap()
    };
    assert!(!of("vqvae.restart=0").hyper.contains_key("restart"));
    assert_eq!(of("vqvae.restart=0").id(), of("vqvae.beta=10").id());
    assert_eq!(of("vqvae.restart=0.01").hyper["restart"], 0.01);
}

#[test]
fn precision_makes_other_cells() {
    let cells = |precision| cells("smoke", &Overrides { precision, ..Overrides::default() }).unwrap();
    let (f32, tf32) = (cells(Precision::F32), cells(Precision::Tf32));
    assert_eq!(f32.len(), tf32.len());
    for (f32, tf32) in f32.iter().zip(tf32) {
        assert_eq!((f32.precision, tf32.precision), (Precision::F32, Precision::Tf32));
        assert_ne!(f32.id(), tf32.id(), "the runs of one are not those of the other");
        assert_eq!(*f32, Cell { precision: Precision::F32, ..tf32 });
    }
}

#[test]
fn lists_of_hyperparameters_span_a_grid() {
    let overrides = Overrides {
        variants: Some(vec!["acai".into()]),
        set: vec!["acai.advweight=0.3,0.5".into(), "acai.reg=[0.1,0.2,0.3]".into()],
        ..Overrides::default()
    };
    assert_eq!(cells("smoke", &overrides).unwrap().len(), 6);
}

#[test]
fn mistakes_are_named() {
    let message = |change: &dyn Fn(&mut Overrides)| {
        let mut overrides = Overrides::default();
        change(&mut overrides);
        format!("{:#}", cells("smoke", &overrides).unwrap_err())
    };
    let text = message(&|o| o.variants = Some(vec!["acia".into()]));
    assert!(text.contains("no variant 'acia' (did you mean 'acai'?)"), "{text}");
    let text = message(&|o| o.datasets = Some(vec!["line".into()]));
    assert!(text.contains("'line'") && text.contains("lines"), "{text}");
    let text = message(&|o| o.seeds = Some("5..1".into()));
    assert!(text.contains("'5..1' is not a range of seeds"), "{text}");
    let text = message(&|o| o.samples = Some(0));
    assert!(text.contains("--samples 0"), "{text}");
    let text = message(&|o| o.set = vec!["acai.advwieght=1".into()]);
    assert!(text.contains("did you mean 'advweight'?"), "{text}");
    let text = message(&|o| o.set = vec!["acai".into()]);
    assert!(text.contains("VARIANT.KEY=VALUE"), "{text}");
    assert!(format!("{:#}", Plan::preset("quik").unwrap_err()).contains("did you mean 'quick'?"));
    let text = format!(
        "{:#}",
        Plan::parse("datasets=['lines']\nvariants=['acai']\nseeds='0'\nsample=3").unwrap_err()
    );
    assert!(text.contains("no key 'sample' (did you mean 'samples'?)"), "{text}");
    let text = format!("{:#}", Plan::parse("datasets=['lines']\nseeds='0'").unwrap_err());
    assert!(text.contains("'variants' is missing"), "{text}");
    let wrong = "datasets=['lines']\nvariants=['acai']\nseeds='0'\n[dataset.lnes]\nsamples=3";
    let text = format!("{:#}", cells_of(&Plan::parse(wrong).unwrap()).unwrap_err());
    assert!(text.contains("no dataset 'lnes' (did you mean 'lines'?)"), "{text}");
    for network in ["[variant.acai.network]\ndeph=3", "[network]\ndeph=3", "[dataset.lines.network]\ndeph=3"]
    {
        let text = of_network(network);
        assert!(text.contains("'deph' (did you mean 'depth'?)"), "{text}");
    }
    let text = of_network("[variant.acai]\nnetwork='resnet'");
    assert!(text.contains("acai has no network 'resnet'; it has: paper"), "{text}");
    let text = of_network("[network]\nlatent=[]");
    assert!(text.contains("nothing to train"), "{text}");
}

/// Returns the error message of a plan that ends with `text`, which describes networks.
fn of_network(text: &str) -> String {
    let plan = format!("datasets=['lines']\nvariants=['acai']\nseeds='0'\n{text}");
    format!("{:#}", cells_of(&Plan::parse(&plan).unwrap()).unwrap_err())
}

#[test]
fn network_settings_of_variants_override_those_of_datasets_and_common_ones() {
    let text = "datasets=['lines']\nvariants=['acai','vae']\nseeds='0'\n[network]\ndepth=4\nlatent=[2,8]\n\
                [variant.vae]\nnetwork={name='paper',depth=8}\n[dataset.lines.network]\nscales=3";
    let of = |cell: &Cell| (cell.variant.clone(), cell.network.clone());
    let network = |depth, latent| Architecture::from(Network { scales: 3, depth, latent });
    let cells = |change: &dyn Fn(&mut Plan)| {
        let mut plan = Plan::parse(text).unwrap();
        change(&mut plan);
        cells_of(&plan).unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let wanted = [("acai", 4, 2), ("acai", 4, 8), ("vae", 8, 2), ("vae", 8, 8)];
    let wanted = wanted.map(|(name, depth, latent)| (name.to_owned(), network(depth, latent)));
    assert_eq!(cells(&|_| {}), wanted);
    let overrides = Overrides { depth: Some(2), latent: Some(vec![1]), ..Overrides::default() };
    let narrow = ["acai", "vae"].map(|name| (name.to_owned(), network(2, 1)));
    assert_eq!(cells(&|plan| plan.apply(&overrides).unwrap()), narrow);
    let overrides = Overrides { set: vec!["vae.network.latent=3".into()], ..Overrides::default() };
    assert_eq!(cells(&|plan| plan.apply(&overrides).unwrap())[2..], [("vae".to_owned(), network(8, 3))]);
}
