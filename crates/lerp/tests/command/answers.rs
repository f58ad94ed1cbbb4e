//! Invalid answers to a task, and mistakes in the models that give them.

use std::{collections::HashMap, fs, path::Path, process::Command};

use candle_core::{Device, Tensor, safetensors::save};
use serde_json::json;

use crate::common::{
    outside::{blend, foreign, values, write},
    parts, python, run, succeed,
};

/// A function that makes an array invalid.
type Change<'a> = Box<dyn Fn(&Tensor) -> Tensor + 'a>;

#[test]
fn bad_answers_are_a_sentence_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (task, out) = (dir.path().join("task"), dir.path().join("out"));
    succeed("score prepare --dataset lines --format safetensors --out", &[&task]);
    let fails = |wanted: &str| {
        let (code, text, errors) = parts(&run("score --name x --out", &[&out, &task]));
        assert_eq!((code, errors.lines().count()), (2, 1), "{errors}{text}");
        assert!(errors.contains(wanted), "{wanted}: {errors}");
        assert!(!out.exists(), "nothing may be written");
    };
    fails("record.json is missing: the task is not answered yet");
    let (decoded, latents) = blend(&task);
    let no_record = json!({});
    let shape = |x: &Tensor, dims: &[usize]| x.reshape(dims).unwrap();
    let first = |x: &Tensor, axis: usize, n: usize| x.narrow(axis, 0, n).unwrap().contiguous().unwrap();
    let spoiled = |x: &Tensor, value: f32| {
        let mut values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values[2000] = value;
        Tensor::from_vec(values, x.dims(), &Device::Cpu).unwrap()
    };
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "test",
            Box::new(|x| shape(x, &[5000, 1, 32, 32])),
            "'test') is [5000, 1, 32, 32], wanted [5000, 32, 32, 1]: channels come first",
        ),
        ("test", Box::new(|x| x.squeeze(3).unwrap()), "the axis of the one channel is missing"),
        ("test", Box::new(|x| first(x, 0, 100)), "these are 100 of 5000; answer all of them"),
        (
            "between",
            Box::new(|x| x.transpose(0, 1).unwrap().contiguous().unwrap()),
            "positions come before pairs",
        ),
        ("between", Box::new(|x| shape(x, &[4096, 32, 32, 1])), "pairs and positions are one axis"),
        ("between", Box::new(|x| first(x, 1, 15)), "is [256, 15, 32, 32, 1], wanted [256, 16, 32, 32, 1]"),
        (
            "between",
            Box::new(|x| {
                Tensor::cat(&(0..16).rev().map(|i| x.narrow(1, i, 1).unwrap()).collect::<Vec<_>>(), 1)
                    .unwrap()
            }),
            "go from right to left",
        ),
        (
            "test",
            Box::new(|x| ((x + 1.0).unwrap() * 0.5).unwrap()),
            "holds values from 0.000 to 1.000, wanted [-1, 1]: these seem to be in [0, 1]; write 2 * x - 1",
        ),
        ("test", Box::new(|x| ((x + 1.0).unwrap() * 127.5).unwrap()), "these seem to be bytes"),
        ("test", Box::new(|x| (x * 100.0).unwrap()), "scale the images"),
        (
            "test",
            Box::new(|x| x.transpose(1, 2).unwrap().contiguous().unwrap()),
            "height and width are exchanged",
        ),
        (
            "figure",
            Box::new(|x| spoiled(x, f32::NAN)),
            "holds 1 numbers that are not finite, the first in number 0 of",
        ),
        ("figure", Box::new(|x| x.to_dtype(candle_core::DType::U8).unwrap()), "numbers of type u8"),
    ];
    for (name, change, wanted) in &cases {
        let mut decoded = decoded.clone();
        decoded.insert((*name).into(), change(&decoded[*name]));
        write(&task, &decoded, &latents, &no_record);
        fails(wanted);
    }
    let mut fewer = decoded.clone();
    fewer.remove("figure");
    write(&task, &fewer, &latents, &no_record);
    fails("decoded.safetensors holds no 'figure'");
    let flat =
        HashMap::from([("between".to_owned(), first(&latents["between"].flatten_from(1).unwrap(), 1, 16))]);
    write(&task, &decoded, &flat, &no_record);
    fails("is [256, 16], wanted [256, 16, ...] and then the sizes of a latent");
    write(&task, &decoded, &latents, &json!({ "task": "of another" }));
    fails("holds answers to another task");
    write(&task, &decoded, &latents, &json!({ "colour": "red" }));
    fails("unknown field `colour`");
    write(&task, &decoded, &latents, &json!({ "framework": "x".repeat(300) }));
    fails("'framework' of more than 200 characters");
    fs::write(task.join("decoded.safetensors"), "half of it").unwrap();
    write(&task, &decoded, &latents, &no_record);
    let whole = fs::read(task.join("decoded.safetensors")).unwrap();
    fs::write(task.join("decoded.safetensors"), &whole[..whole.len() / 2]).unwrap();
    fails("is no safetensors file, or damaged");
    // NumPy files instead, one of which holds pickled objects.
    fs::remove_file(task.join("decoded.safetensors")).unwrap();
    fails("is missing, and there is no folder decoded of .npy files");
    fs::create_dir(task.join("decoded")).unwrap();
    let header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
    let mut object = b"\x93NUMPY\x01\x00".to_vec();
    object.extend((header.len() as u16).to_le_bytes());
    object.extend(header.as_bytes());
    object.extend(b"cos\nsystem\n(S'touch pickled'\ntR.");
    fs::write(task.join("decoded/between.npy"), object).unwrap();
    fails("between.npy holds Python objects, which are not read");
    fs::remove_dir_all(task.join("decoded")).unwrap();
    write(&task, &decoded, &latents, &no_record);
    // A task with other images, of another version, or with invalid fields.
    let path = task.join("task.json");
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to, wanted) in [
        ("\"seed\": 0", "\"seed\": 1", "is not the task that this version poses"),
        ("lerp task 1", "lerp task 7", "has the format 'lerp task 7', and this version reads 'lerp task 1'"),
        ("\"lines\"", "\"lanes\"", "there is no dataset 'lanes'"),
        ("\"task\"", "\"tusk\"", "is damaged (missing field `task`"),
        ("\"test_samples\": 5000", "\"test_samples\": 0", "asks for 0 test images"),
        ("\"test_samples\": 5000", "\"test_samples\": 1000000000000", "asks for 1000000000000 test images"),
        ("\"cluster_restarts\": null", "\"cluster_restarts\": 3", "asks for clusters of lines"),
    ] {
        assert!(whole.contains(from), "{whole}");
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        fails(wanted);
    }
    fs::write(&path, &whole).unwrap();
    for (line, wanted) in [
        ("score --out", "--name"),
        ("score --name  --out", "a value is required"),
        ("score prepare --dataset lines --out", "exists and is not empty; give --out a new folder"),
        ("score prepare --dataset lines --format zip --out", "no format 'zip'"),
        ("score prepare --out", "--dataset"),
    ] {
        let (code, _, errors) = parts(&run(line, &[&task]));
        assert!(code == 2 && errors.contains(wanted) && errors.lines().count() == 1, "{line}: {errors}");
    }
    // Valid answers are scored; another model of the same name and seed is refused.
    succeed("score --name x --out", &[&out, &task]);
    let found = values(&foreign(&out));
    assert_eq!(found["eval/reconstruction_mse"], 0.0);
    let mut other = decoded.clone();
    other.insert("test".into(), (&decoded["test"] * 0.5).unwrap());
    write(&task, &other, &latents, &no_record);
    let (code, _, errors) = parts(&run("score --name x --out", &[&out, &task]));
    assert!(code == 2 && errors.contains("but of another model or with another record"), "{errors}");
    let refused = |line: &str, paths: &[&Path], wanted: &str| {
        let (code, _, errors) = parts(&run(line, paths));
        assert!(code == 2 && errors.contains(wanted) && errors.lines().count() == 1, "{wanted}: {errors}");
    };
    let new = dir.path().join("new");
    refused("score --name y --out", &[&new, &task, &task], "are both of seed 0");
    refused("score --name X! --out", &[&out, &task], "has the same letters and digits as");
    refused("score --name ... --out", &[&out, &task], "with at least one letter or digit");
    // The same answers are refused with another number of samples or another seed.
    write(&task, &decoded, &latents, &json!({ "samples": 5 }));
    refused("score --name x --out", &[&out, &task], "of this name and seed");
    write(&task, &decoded, &latents, &json!({ "seed": 1 }));
    refused("score --name x --out", &[&out, &task], "train a separate model for every seed");
    // The descriptive fields of the record may change.
    write(&task, &decoded, &latents, &json!({ "framework": "<b>|\u{1b}[31m\nred" }));
    succeed("score --name x --out", &[&out, &task]);
    let told = foreign(&out).record.elsewhere.unwrap().framework.unwrap();
    assert_eq!(told, r"<b>|\u{1b}[31m\nred");
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(!page.contains("<b>|") && page.contains("&lt;b&gt;"), "what a stranger says is text");
    assert!(page.contains("<dt>seed</dt><dd>0</dd>") && !page.contains("<dt>batch</dt>"));
    let like = [out.join("runs").join(foreign(&out).record.id), dir.path().join("liked")];
    refused(
        "score prepare --like",
        &[&like[0], Path::new("--out"), &like[1]],
        "give --like a run that has a model",
    );
}

#[test]
fn arrays_of_numpy_do_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (task, out) = (dir.path().join("task"), dir.path().join("out"));
    succeed("score prepare --dataset lines --out", &[&task]);
    // The task's images are also written as NumPy files, one of which serves as an answer below.
    let (mut decoded, latents) = blend(&task);
    write(&task, &decoded, &latents, &json!({ "seed": 7 }));
    decoded.remove("test");
    save(&decoded, task.join("decoded.safetensors")).unwrap();
    let (code, _, errors) = parts(&run("score --name x --out", &[&out, &task]));
    assert!(code == 2 && errors.contains("holds no 'test'"), "{errors}");
    fs::remove_file(task.join("decoded.safetensors")).unwrap();
    fs::create_dir(task.join("decoded")).unwrap();
    fs::copy(task.join("images/test.npy"), task.join("decoded/test.npy")).unwrap();
    for name in ["between", "figure"] {
        let values = decoded[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let shape: Vec<String> = decoded[name].dims().iter().map(ToString::to_string).collect();
        let header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}\n", shape.join(", "));
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.into_bytes());
        bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        fs::write(task.join(format!("decoded/{name}.npy")), bytes).unwrap();
    }
    succeed("score --name x --out", &[&out, &task]);
    let run = foreign(&out);
    assert_eq!(run.record.cell.seed, 7);
    assert_eq!(values(&run)["eval/reconstruction_mse"], 0.0);
}

/// Python source of an encoder that only flattens its input.
const ENCODE: &str = "import numpy as np\ndef encode(x): return x.reshape(len(x), -1)\n";
/// Python source of the decoder that reverses [`ENCODE`].
const DECODE: &str = "def decode(z): return z.reshape(-1, 32, 32, 1)\n";

#[test]
fn mistakes_in_a_model_in_python_are_a_sentence() {
    let Some(python) = python("numpy", "import numpy") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (task, model) = (dir.path().join("a task"), dir.path().join("model.py"));
    succeed("score prepare --dataset lines --format npy --out", &[&task]);
    let answer = |text: &str| {
        fs::write(&model, text).unwrap();
        parts(&Command::new(&python).arg(task.join("lerp_task.py")).arg(&model).output().unwrap())
    };
    for (text, wanted) in [
        ("", "has no function encode"),
        (ENCODE, "has no function decode"),
        (
            "def encode(x): return x, x\ndef decode(z): return z\n",
            "encode(...) returned a tuple, wanted one array",
        ),
        (
            "def encode(x): return x[:3]\ndef decode(z): return z\n",
            "encode(...) returned an array [3, 32, 32, 1] for 256",
        ),
        ("def encode(x): return x * 1j\ndef decode(z): return z\n", "returned numbers of type complex64"),
        (
            "def encode(x): return x * float('nan')\ndef decode(z): return z\n",
            "encode(...) returned numbers that are not finite",
        ),
        (
            &format!("{ENCODE}def decode(z): return z.reshape(-1, 1, 32, 32)\n"),
            "images [1, 32, 32], wanted [32, 32, 1]; set CHANNELS_FIRST = True",
        ),
        (
            &format!("{ENCODE}def decode(z): return z\n"),
            "decode(...) returned images [1024], wanted [32, 32, 1]",
        ),
        (
            &format!("{ENCODE}{DECODE}def mix(a, b, t): return a[:, :7]\n"),
            "mix(...) returned latents [256, 7] between two of [256, 1024]",
        ),
        (
            &format!("{ENCODE}{DECODE}RECORD = {{'epochs': 3}}\n"),
            "a record has no 'epochs'; it may have framework",
        ),
        (
            &format!("{ENCODE}{DECODE}RECORD = {{'samples': -1}}\n"),
            "the record's 'samples' is -1, wanted a whole number",
        ),
        (&format!("{ENCODE}{DECODE}RECORD = {{'folder': '/'}}\n"), "a record has no 'folder'"),
    ] {
        let (code, out, errors) = answer(text);
        assert!(
            code == 1 && errors.starts_with("error: ") && errors.lines().count() == 1,
            "{wanted}: {errors}{out}"
        );
        assert!(errors.contains(wanted), "{wanted}: {errors}");
        assert!(!task.join("record.json").exists() && !task.join("decoded.safetensors").exists());
    }
    // The functions of a model may change their arguments in place.
    let spoil = "def encode(x):\n    z = x.reshape(len(x), -1)\n    y = z + 0\n    z *= 7\n    return y\n\
                 def decode(z):\n    y = z.reshape(-1, 32, 32, 1) + 0\n    z *= 7\n    return y\n\
                 RECORD = {'samples': 1e3, 'version': 2.5}\n";
    let (code, _, errors) = answer(spoil);
    assert_eq!(code, 0, "{errors}");
    let out = dir.path().join("out");
    succeed("score --name x --out", &[&out, &task]);
    let run = foreign(&out);
    assert_eq!(values(&run)["eval/reconstruction_mse"], 0.0);
    let norms = run.paths().unwrap().unwrap().norm;
    assert!(norms.iter().all(|row| row[0] < 32.1), "a norm of 1,024 numbers in [-1, 1]: {:?}", norms[0]);
    assert_eq!(
        (run.record.cell.samples, run.record.elsewhere.unwrap().version.as_deref()),
        (1000, Some("2.5"))
    );
}
