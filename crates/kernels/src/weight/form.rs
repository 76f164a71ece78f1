//! How a frozen weight is laid out: which codes and scales a panel of 32 outputs has, for each stored type.
//!
//! A panel is a run of blocks of inputs, each a header of scales and then the codes of its groups. So it is read from
//! front to back. Plain and 8-bit floats stand input by input, 32 outputs each. Codes of fewer bits are in a low plane
//! and perhaps a high one, four inputs at a time: for each of 32 outputs its four codes, as instructions take them that
//! multiply bytes. A value is fma(scale, code, min), which is exact but for one rounding: d·scale and dmin·min of ggml's
//! types have at most 18 significant bits. So it has the bits of the type's own decoder.

use crate::simd::LANES;
use crate::stored::{IQ4_VALUES, MXFP4_VALUES, StoredType};

/// A layout of panels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Form {
    /// Inputs of a block; the last may have fewer.
    pub block: usize,
    /// Inputs that share a scale.
    pub group: usize,
    /// What stands in a block's header.
    pub scales: Scales,
    /// What follows it.
    pub codes: Codes,
}

/// A header, for each of 32 outputs; G groups.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scales {
    /// Nothing: codes are values.
    None,
    /// f16 d: value = d·code.
    Half,
    /// f16 d, m: value = d·code + m.
    HalfAndMin,
    /// f16 d, G signed bytes: value = (d·scale)·code.
    Runs,
    /// f16 d, dmin, G bytes of scales, G of minimums: value = (d·scale)·code − dmin·min.
    RunsAndMins,
    /// The same with both in one byte, the scale in its lower half.
    Nibbles,
    /// The exponent of a power of two: value = 2^(exponent − 128)·code.
    Exponent,
    /// f32: value = scale·code.
    Single,
}

/// Inputs whose codes stand together.
pub(super) const QUAD: usize = 4;

/// The codes of 32 outputs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Codes {
    F32,
    F16,
    BF16,
    /// 8-bit floats.
    F8,
    /// Signed bytes.
    Eight,
    /// 4 bits, and what is added to them.
    Four(i8),
    /// 4 bits, which pick a value.
    Picked(&'static [i8; 16]),
    /// 4 and 1 bits, and what is added to them.
    FourOne(i8),
    /// 4 and 2 bits, and what is added to them.
    FourTwo(i8),
    /// 2 bits.
    Two,
    /// 2 and 1 bits, and what is added to them.
    TwoOne(i8),
}

impl Form {
    /// The layout for weights of `ty`; 8-bit floats have a scale for every `scale_block` inputs.
    pub fn of(ty: StoredType, scale_block: Option<usize>) -> Form {
        use StoredType::*;
        let form = |block, group, scales, codes| Form { block, group, scales, codes };
        match ty {
            F64 | F32 => form(256, 256, Scales::None, Codes::F32),
            F16 => form(256, 256, Scales::None, Codes::F16),
            BF16 => form(256, 256, Scales::None, Codes::BF16),
            F8_E4M3 => match scale_block {
                None => form(256, 256, Scales::None, Codes::F8),
                Some(block) => form(block, block, Scales::Single, Codes::F8),
            },
            Q8_0 => form(32, 32, Scales::Half, Codes::Eight),
            Q4_0 => form(32, 32, Scales::Half, Codes::Four(-8)),
            Q4_1 => form(32, 32, Scales::HalfAndMin, Codes::Four(0)),
            Q5_0 => form(32, 32, Scales::Half, Codes::FourOne(-16)),
            Q5_1 => form(32, 32, Scales::HalfAndMin, Codes::FourOne(0)),
            Q2_K => form(256, 16, Scales::Nibbles, Codes::Two),
            Q3_K => form(256, 16, Scales::Runs, Codes::TwoOne(-4)),
            Q4_K => form(256, 32, Scales::RunsAndMins, Codes::Four(0)),
            Q5_K => form(256, 32, Scales::RunsAndMins, Codes::FourOne(0)),
            Q6_K => form(256, 16, Scales::Runs, Codes::FourTwo(-32)),
            IQ4_NL => form(32, 32, Scales::Half, Codes::Picked(&IQ4_VALUES)),
            IQ4_XS => form(256, 32, Scales::Runs, Codes::Picked(&IQ4_VALUES)),
            MXFP4 => form(32, 32, Scales::Exponent, Codes::Picked(&MXFP4_VALUES)),
            F8_E8M0 => panic!("F8_E8M0 is a type of scales, not of weights"),
        }
    }

    /// Whether the codes of four inputs stand together.
    pub fn is_in_quads(&self) -> bool {
        !matches!(self.codes, Codes::F32 | Codes::F16 | Codes::BF16 | Codes::F8)
    }

    /// What is added to each code, if codes are unsigned numbers.
    pub fn offset(&self) -> Option<i8> {
        match self.codes {
            Codes::Four(offset) | Codes::FourOne(offset) | Codes::FourTwo(offset) | Codes::TwoOne(offset) => {
                Some(offset)
            }
            Codes::Two => Some(0),
            _ => None,
        }
    }

    /// Bytes of a header.
    pub fn header_bytes(&self) -> usize {
        let groups = self.block.div_ceil(self.group);
        LANES
            * match self.scales {
                Scales::None => 0,
                Scales::Exponent => 1,
                Scales::Half => 2,
                Scales::HalfAndMin | Scales::Single => 4,
                Scales::Runs => 2 + groups,
                Scales::RunsAndMins => 4 + 2 * groups,
                Scales::Nibbles => 4 + groups,
            }
    }

    /// Bytes of an input's codes in the low plane, on average over four.
    pub fn low_bytes(&self) -> usize {
        match self.codes {
            Codes::F32 => 4 * LANES,
            Codes::F16 | Codes::BF16 => 2 * LANES,
            Codes::F8 | Codes::Eight => LANES,
            Codes::Four(_) | Codes::Picked(_) | Codes::FourOne(_) | Codes::FourTwo(_) => LANES / 2,
            Codes::Two | Codes::TwoOne(_) => LANES / 4,
        }
    }

    /// The same in the high plane.
    pub fn high_bytes(&self) -> usize {
        match self.codes {
            Codes::FourOne(_) | Codes::TwoOne(_) => LANES / 8,
            Codes::FourTwo(_) => LANES / 4,
            _ => 0,
        }
    }

    /// Bytes of a panel of `k` inputs.
    pub fn panel_bytes(&self, k: usize) -> usize {
        k.div_ceil(self.block) * self.header_bytes() + k * (self.low_bytes() + self.high_bytes())
    }

    /// Where block `block` of a panel of `k` inputs starts, and how many inputs it has.
    pub fn block_at(&self, block: usize, k: usize) -> (usize, usize) {
        let start = block * (self.header_bytes() + self.block * (self.low_bytes() + self.high_bytes()));
        (start, self.block.min(k - block * self.block))
    }

    /// The codes of group `group` among those of a block of `inputs`, and how many inputs it has.
    pub fn group_of<'a>(&self, group: usize, inputs: usize, codes: &'a [u8]) -> (&'a [u8], usize) {
        let width = self.low_bytes() + self.high_bytes();
        let inputs = self.group.min(inputs - group * self.group);
        (&codes[group * self.group * width..][..inputs * width], inputs)
    }
}
