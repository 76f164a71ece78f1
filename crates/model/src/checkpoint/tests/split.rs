//! GGUF in shards: any of them opens all, and what does not fit together is told.

use super::gguf_file::*;
use super::*;

/// The parts of a small file, the first with all settings.
fn shards(count: u16) -> Vec<(Vec<Vec<u8>>, Vec<Tensor>)> {
    let (metadata, tensors) = tiny_gguf();
    let total = tensors.len() as u32;
    let mut shards: Vec<_> = (0..count).map(|_| (Vec::new(), Vec::new())).collect();
    shards[0].0 = metadata;
    for (i, tensor) in tensors.into_iter().enumerate() {
        shards[i % usize::from(count)].1.push(tensor);
    }
    let short = |key: &str, n: u16| [text(key), 2u32.to_le_bytes().into(), n.to_le_bytes().into()].concat();
    for (i, (metadata, _)) in (0..).zip(&mut shards) {
        metadata.extend([short("split.no", i), short("split.count", count), number("split.tensors.count", total)]);
    }
    shards
}

fn written(shards: &[(Vec<Vec<u8>>, Vec<Tensor>)], name: impl Fn(usize) -> String) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, (metadata, tensors)) in shards.iter().enumerate() {
        fs::write(dir.path().join(name(i + 1)), whole(metadata, tensors)).unwrap();
    }
    dir
}

fn usual(number: usize) -> String {
    format!("tiny-{number:05}-of-00003.gguf")
}

#[test]
fn any_shard_opens_all() {
    let dir = written(&shards(3), usual);
    let (metadata, tensors) = tiny_gguf();
    let (_one, path) = folder_with("tiny.gguf", &whole(&metadata, &tensors));
    let one = Checkpoint::open(&path).unwrap();
    for number in 1..=3 {
        let checkpoint = Checkpoint::open(dir.path().join(usual(number))).unwrap();
        assert_eq!(checkpoint.config().unwrap(), one.config().unwrap());
        assert_eq!(checkpoint.gguf_tokenizer(), one.gguf_tokenizer());
        let names: Vec<&str> = checkpoint.tensor_names().collect();
        assert_eq!(names, one.tensor_names().collect::<Vec<_>>());
        for name in names {
            assert_eq!(checkpoint.read_f32(name).unwrap(), one.read_f32(name).unwrap());
        }
    }
    // One shard of one is a whole file, whatever its name.
    let alone = written(&shards(1), |_| "any.gguf".into());
    Checkpoint::open(alone.path().join("any.gguf")).unwrap();
}

#[test]
fn shards_that_do_not_fit_together_are_told() {
    let error = |dir: &TempDir, name: String| {
        let line = Checkpoint::open(dir.path().join(name)).unwrap_err().to_string();
        assert!(line.contains("; ") && !line.contains('\n'), "{line}");
        line
    };
    let dir = written(&shards(3), usual);
    fs::remove_file(dir.path().join(usual(2))).unwrap();
    assert!(error(&dir, usual(3)).contains("`tiny-00002-of-00003.gguf` is missing"));
    fs::copy(dir.path().join(usual(3)), dir.path().join(usual(2))).unwrap();
    assert!(error(&dir, usual(1)).contains("is shard 3 of 3, not 2"));

    let dir = written(&shards(3), |number| format!("part{number}.gguf"));
    assert!(error(&dir, "part2.gguf".into()).contains("-00002-of-00003.gguf"));

    let mut wrong = shards(3);
    wrong[1].1.pop();
    assert!(error(&written(&wrong, usual), usual(1)).contains("announces 4 tensors"));
    let mut twice = shards(3);
    twice[1].1[0].name = twice[0].1[0].name.clone();
    twice[1].1[0].shape = twice[0].1[0].shape.clone();
    twice[1].1[0].data = twice[0].1[0].data.clone();
    assert!(error(&written(&twice, usual), usual(1)).contains("twice"));
    let mut beyond = shards(3);
    beyond[2].0[0] = [text("split.no"), 2u32.to_le_bytes().into(), 7u16.to_le_bytes().into()].concat();
    assert!(error(&written(&beyond, usual), usual(3)).contains("shard 7"));
}
