//! Every type against values of implementations that we did not write (golden/ggml_blocks.py).

use super::*;
use safetensors::SafeTensors;

fn golden() -> SafeTensors<'static> {
    let bytes = include_bytes!("../../../../golden/ggml_blocks.safetensors");
    SafeTensors::deserialize(bytes).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

#[test]
fn decodes_like_the_reference() {
    let golden = golden();
    for ty in StoredType::ALL.into_iter().filter(|&ty| ty != F32) {
        let bytes = golden.tensor(&format!("{ty}.bytes")).unwrap();
        let theirs = floats(golden.tensor(&format!("{ty}.values")).unwrap().data());
        let mut ours = vec![9.0; theirs.len()];
        ty.decode(bytes.data(), &mut ours);
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same, "{ty} [{i}]: {ours}, not {theirs}");
        }
    }
}

#[test]
fn encodes_like_the_reference() {
    let golden = golden();
    for ty in [F16, BF16, Q8_0, Q4_0] {
        let values = floats(golden.tensor(&format!("{ty}.from")).unwrap().data());
        assert_eq!(ty.encode(&values).unwrap(), golden.tensor(&format!("{ty}.to")).unwrap().data(), "{ty}");
    }
    assert_eq!(Q6_K.encode(&[0.0; 256]), None);
}

/// What decoding gives is met exactly by encoding it again, whatever the codes.
#[test]
fn floats_survive_both_ways() {
    for high in 0..=255u8 {
        for low in 0..=255 {
            for ty in [F16, BF16] {
                let mut value = [0.0];
                ty.decode(&[low, high], &mut value);
                if !value[0].is_nan() {
                    assert_eq!(ty.encode(&value).unwrap(), [low, high], "{ty}");
                }
            }
        }
    }
}

#[test]
fn names_and_numbers_are_unambiguous() {
    for ty in StoredType::ALL {
        assert_eq!(ty.name(), format!("{ty:?}"));
        if let Some(number) = ty.ggml() {
            assert_eq!(StoredType::from_ggml(number), Some(ty));
        }
        assert_eq!(ty.bytes(0), Some(0));
    }
    assert_eq!(StoredType::from_ggml(16), None);
    assert_eq!(Q4_K.bytes(512), Some(288));
    assert_eq!(Q4_K.bytes(300), None);
    assert_eq!(F64.bytes(1 << 62), None);
}

/// Numbers far outside of what a file should hold give some block, not a panic.
#[test]
fn hostile_values_encode() {
    for x in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 8.0, -0.0] {
        for ty in [F32, F16, BF16, Q8_0, Q4_0] {
            assert_eq!(ty.encode(&[x; 32]).unwrap().len(), ty.bytes(32).unwrap());
        }
    }
}
