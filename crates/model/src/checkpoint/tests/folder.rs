//! Safetensors files and folders: written, sharded and lying.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_written_folder_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = [0.1, -2.5, 1e-3, 65504.0, 0.0, f32::MIN_POSITIVE];
    let bias = [0.001, 1.000_1];
    let tensors = [
        TensorView { name: "ü.weight", shape: &[2, 3], data: Values::Given(&data) },
        TensorView { name: "gate.e_score_correction_bias", shape: &[2], data: Values::Given(&bias) },
        TensorView { name: "a.weight", shape: &[1], data: Values::Given(&[7.0]) },
    ];
    for (dtype, epsilon) in [
        (FloatType::F32, 0.0),
        // Half a unit in the last place of 8 and of 11 significant bits.
        (FloatType::Bf16, 1.0 / 256.0),
        (FloatType::F16, 1.0 / 2048.0),
    ] {
        write_folder(dir.path(), &config(), tensors, dtype, SHARD_BYTES).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.config().unwrap(), config());
        let read = checkpoint.read_expected("ü.weight", &[2, 3]).unwrap();
        for (a, b) in data.iter().zip(&read) {
            // Below F16's normal range its step is 2^-24.
            let step = if dtype == FloatType::F16 { 2f32.powi(-25) } else { 0.0 };
            assert!((a - b).abs() <= a.abs() * epsilon + step, "{dtype:?}: {a} {b}");
        }
        let read = checkpoint.read_f32("gate.e_score_correction_bias").unwrap();
        assert_eq!(read, bias, "router biases keep 32 bits");

        // The format's own crate agrees.
        let bytes = fs::read(dir.path().join("model.safetensors")).unwrap();
        let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.tensor("ü.weight").unwrap().shape(), [2, 3]);
        assert_eq!(theirs.len(), 3);

        write_folder(dir.path(), &config(), tensors, dtype, SHARD_BYTES).unwrap();
        assert_eq!(fs::read(dir.path().join("model.safetensors")).unwrap(), bytes);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no leavings");
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let good = TensorView { name: "a", shape: &[1], data: Values::Given(&[7.0]) };
    write_folder(dir.path(), &config(), [good], FloatType::F32, SHARD_BYTES).unwrap();
    let before = fs::read(dir.path().join("model.safetensors")).unwrap();
    for (bad, dtype) in [
        (vec![TensorView { shape: &[2], ..good }], FloatType::F32),
        (vec![TensorView { shape: &[usize::MAX, 2], ..good }], FloatType::F32),
        (vec![good, good], FloatType::F32),
        (vec![TensorView { data: Values::Given(&[1e6]), ..good }], FloatType::F16),
    ] {
        let error = write_folder(dir.path(), &config(), bad, dtype, SHARD_BYTES).unwrap_err();
        assert!(error.to_string().contains("tensor `a`"), "{error}");
        assert_eq!(fs::read(dir.path().join("model.safetensors")).unwrap(), before);
    }
    // A file where the folder should be: the system's refusal on one line.
    let file = dir.path().join("config.json");
    let error = write_folder(&file, &config(), [good], FloatType::F32, SHARD_BYTES).unwrap_err();
    assert!(error.to_string().contains("cannot write it"), "{error}");
}

#[test]
fn a_model_over_the_limit_is_written_as_shards() {
    let data: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let tensors = [
        TensorView { name: "long", shape: &[3, 4], data: Values::Given(&data[..12]) },
        TensorView { name: "a", shape: &[2], data: Values::Given(&data[12..14]) },
        TensorView { name: "b", shape: &[2, 2], data: Values::Given(&data[14..18]) },
        TensorView { name: "gate.e_score_correction_bias", shape: &[2], data: Values::Given(&data[18..20]) },
        TensorView { name: "none", shape: &[0], data: Values::Given(&[]) },
        TensorView { name: "z", shape: &[4], data: Values::Given(&data[20..]) },
    ];
    for (dtype, limit, shards) in [
        (FloatType::F32, 96, 1),
        (FloatType::F32, 95, 2),
        (FloatType::F32, 24, 4),
        (FloatType::F32, 1, 6),
        (FloatType::Bf16, 8, 5),
        (FloatType::F16, 60, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_folder(dir.path(), &config(), tensors, dtype, limit).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names.contains(&"model.safetensors.index.json".to_owned()), shards > 1, "{dtype:?} {limit}");
        names.retain(|name| name.ends_with(".safetensors"));
        assert_eq!(names.len(), shards, "{dtype:?} {limit}: {names:?}");

        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.config().unwrap(), config());
        for tensor in tensors {
            assert_eq!(
                checkpoint.read_expected(tensor.name, tensor.shape).unwrap(),
                tensor.data.get().to_vec(),
                "{}",
                tensor.name
            );
        }
        if shards > 1 {
            assert_eq!(names[0], format!("model-00001-of-{shards:05}.safetensors"));
            let text = fs::read_to_string(dir.path().join("model.safetensors.index.json")).unwrap();
            let index: Value = serde_json::from_str(&text).unwrap();
            let width = if dtype == FloatType::F32 { 4 } else { 2 };
            assert_eq!(index["metadata"]["total_size"], 22 * width + 2 * 4);
            for (name, file) in index["weight_map"].as_object().unwrap() {
                let bytes = fs::read(dir.path().join(file.as_str().unwrap())).unwrap();
                // The format's own crate finds each tensor where the index says; no shard of several exceeds the limit.
                let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
                theirs.tensor(name).unwrap();
                let held: usize = theirs.tensors().iter().map(|(_, view)| view.data().len()).sum();
                assert!(held as u64 <= limit || theirs.len() == 1 || limit == 1, "{file}: {held}");
            }
        }
    }
}

#[test]
fn shards_replace_no_model() {
    let tensor = |name| TensorView { name, shape: &[1], data: Values::Given(&[7.0]) };
    let write = |dir: &Path, limit| write_folder(dir, &config(), [tensor("a"), tensor("b")], FloatType::F32, limit);
    let files = |dir: &Path| {
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>()
    };
    for (first, second) in [(8, 4), (4, 4), (4, 8)] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), first).unwrap();
        let before = files(dir.path());
        let line = write(dir.path(), second).unwrap_err().to_string();
        assert!(line.contains("holds a model already") && line.contains("another folder"), "{line}");
        assert_eq!(files(dir.path()), before);
    }
    // What a killed writer leaves, shards without an index, is no model and does not stand in the way.
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4).unwrap();
    fs::remove_file(dir.path().join("model.safetensors.index.json")).unwrap();
    assert!(Checkpoint::open(dir.path()).is_err());
    write(dir.path(), 4).unwrap();
    Checkpoint::open(dir.path()).unwrap();
}

#[test]
fn shards_are_joined_by_their_index() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |name: &str, value: f32| {
        let header = json!({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}});
        safetensors_bytes(&header.to_string(), &value.to_le_bytes())
    };
    let write = |file: &str, bytes: &[u8]| fs::write(dir.path().join(file), bytes).unwrap();
    let index = |map: Value| {
        let text = json!({"metadata": {"total_size": 8}, "weight_map": map}).to_string();
        write("model.safetensors.index.json", text.as_bytes());
        Checkpoint::open(dir.path())
    };
    write("m-1.safetensors", &shard("a", 1.0));
    write("m-2.safetensors", &shard("b", 2.0));
    let good = json!({"a": "m-1.safetensors", "b": "m-2.safetensors"});
    let checkpoint = index(good.clone()).unwrap();
    assert_eq!(checkpoint.read_f32("b").unwrap(), [2.0]);
    assert_eq!(checkpoint.tensor_names().collect::<Vec<_>>(), ["a", "b"]);

    for bad in [
        json!({"a": "m-2.safetensors", "b": "m-2.safetensors"}),
        json!({"a": "m-1.safetensors", "c": "m-2.safetensors"}),
        json!({"a": "m-1.safetensors", "b": "gone.safetensors"}),
        json!({"a": "../m-1.safetensors"}),
        json!({"a": "/etc/passwd"}),
        json!({"a": ""}),
        json!(["a"]),
    ] {
        let line = index(bad).unwrap_err().to_string();
        assert!(line.contains("; ") && !line.contains('\n'), "{line}");
    }
    write("m-2.safetensors", &shard("a", 2.0));
    assert!(index(good).unwrap_err().to_string().contains("twice"));
}

#[test]
fn wrong_types_shapes_and_names_are_told() {
    let header = json!({
        "bytes": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [4, 12]},
        "w": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [12, 16]},
    });
    let data = [1, 2, 3, 4, 255, 255, 255, 255, 255, 255, 255, 255, 0x80, 0x3f, 0, 0xc0];
    let bytes = safetensors_bytes(&header.to_string(), &data);
    let (_dir, path) = folder_with("x.safetensors", &bytes);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.read_f32("w").unwrap(), [1.0, -2.0]);
    assert_eq!(checkpoint.read_i64("ids").unwrap(), [-1]);
    assert_eq!(checkpoint.shape("w"), Some(&[1, 2][..]));
    for (error, word) in [
        (checkpoint.read_f32("bytes").unwrap_err(), "I8"),
        (checkpoint.read_f32("ids").unwrap_err(), "I64"),
        (checkpoint.read_i64("w").unwrap_err(), "BF16"),
        (checkpoint.read_expected("w", &[2, 1]).unwrap_err(), "[2, 1]"),
        (checkpoint.read_expected("v", &[1]).unwrap_err(), "missing"),
        (checkpoint.config().unwrap_err(), "config.json"),
    ] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn lying_safetensors_headers_are_refused() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let data = [0u8; 16];
    for header in [
        tensor("F32", "[4]", "[0,32]"),
        tensor("F32", "[4]", "[16,0]"),
        tensor("F32", "[4]", "[4,16]"),
        tensor("F32", "[4]", "[0,18446744073709551615]"),
        tensor("F32", "[5]", "[0,16]"),
        tensor("F32", "[3]", "[0,12]"), // fits, but leaves four bytes that no tensor has
        tensor("F32", "[9223372036854775808,2,1]", "[0,0]"),
        tensor("F32", "[4294967296,4294967296]", "[0,16]"),
        tensor("F32", "[-4]", "[0,16]"),
        tensor("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]", "[0,16]"),
        tensor(&"x".repeat(100_000), "[4]", "[16,0]"),
        tensor("F32", "[4.5]", "[0,16]"),
        tensor("F32", "[4]", "[0]"),
        tensor("F32", "[4]", "[0,16,0]"),
        r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#
            .into(),
        r#"{"v":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},
            "w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#
            .into(),
        "{}".into(),
        "[]".into(),
        "{".into(),
        "".into(),
        "[".repeat(100_000),
    ] {
        let line = open_error("bad.safetensors", &safetensors_bytes(&header, &data));
        if header.contains("\"w\"") && !header.contains("[0,12]") {
            assert!(line.contains("`w`"), "names the tensor: {line}");
        }
    }
    open_error("bad.safetensors", &[]);
    open_error("bad.safetensors", b"short");
    open_error("bad.safetensors", &u64::MAX.to_le_bytes());
    open_error("bad.safetensors", &[&9u64.to_le_bytes()[..], &[0xff; 9]].concat());
    open_error("model.bin", b"pickled");
    assert!(Checkpoint::open("no/such/place").unwrap_err().to_string().contains("cannot open"));
    let empty = tempfile::tempdir().unwrap();
    assert!(Checkpoint::open(empty.path()).unwrap_err().to_string().contains("has neither"));
    // A run's folder: the models are one below.
    std::fs::create_dir(empty.path().join("rl")).unwrap();
    std::fs::write(empty.path().join("rl/model.safetensors"), b"").unwrap();
    assert!(Checkpoint::open(empty.path()).unwrap_err().to_string().contains("one of the models in it: `rl`"));
}
