//! Values of one resolution in another, by min-centre-max (M2-115-U).
//!
//! The least, the centre and the greatest value meet those of the other resolution. Upwards a value
//! is shifted left; above the centre the lower bits are filled by repeating all its bits but the top
//! one. Downwards the lower bits are cut off, so up and down again is the value that was.

/// A value of `from` bits in `to` bits. `from` is 2 to 31, `to` at least that and at most 32; bits of
/// `value` above `from` have to be zero.
#[must_use]
pub const fn up(value: u32, from: u32, to: u32) -> u32 {
    let shifted = value << (to - from);
    let centre = 1 << (from - 1);
    if value <= centre {
        return shifted;
    }
    let repeat_bits = from - 1;
    // The bits to repeat, moved to stand directly behind the value, then again behind themselves.
    let repeat = (value & (centre - 1)) as u64;
    let mut filled = shifted as u64;
    let mut room = to - from;
    while room > repeat_bits {
        room -= repeat_bits;
        filled |= repeat << room;
    }
    filled |= repeat >> (repeat_bits - room);
    // `to` is at most 32 bits, and no bit was moved beyond it.
    let [_, _, _, _, a, b, c, d] = filled.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// A value of `from` bits in `to` bits, with `to` at most `from`.
#[must_use]
pub const fn down(value: u32, from: u32, to: u32) -> u32 {
    value >> (from - to)
}

/// 7 bits to 16, as for velocities.
#[must_use]
pub fn up_7_to_16(value: u8) -> u16 {
    u16::try_from(up(u32::from(value & 0x7F), 7, 16)).unwrap_or(u16::MAX)
}

/// 7 bits to 32, as for controllers and pressure.
#[must_use]
pub const fn up_7_to_32(value: u8) -> u32 {
    up((value & 0x7F) as u32, 7, 32)
}

/// 14 bits to 32, as for pitch bend and data entry.
#[must_use]
pub const fn up_14_to_32(value: u16) -> u32 {
    up((value & 0x3FFF) as u32, 14, 32)
}

/// 16 bits to 7.
#[must_use]
pub const fn down_16_to_7(value: u16) -> u8 {
    let [high, _] = value.to_be_bytes();
    high >> 1
}

/// 32 bits to 7.
#[must_use]
pub const fn down_32_to_7(value: u32) -> u8 {
    let [high, ..] = value.to_be_bytes();
    high >> 1
}

/// 32 bits to 14.
#[must_use]
pub const fn down_32_to_14(value: u32) -> u16 {
    let [high, low, ..] = value.to_be_bytes();
    u16::from_be_bytes([high, low]) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits from, bits to, and pairs of values.
    type Vectors = (u32, u32, &'static [(u32, u32)]);

    /// Reference values: least, both sides of the centre, some between, most.
    const VECTORS: &[Vectors] = &[
        (
            7,
            16,
            &[
                (0, 0x0000),
                (1, 0x0200),
                (2, 0x0400),
                (32, 0x4000),
                (63, 0x7E00),
                (64, 0x8000),
                (65, 0x8208),
                (96, 0xC104),
                (100, 0xC924),
                (126, 0xFDF7),
                (127, 0xFFFF),
            ],
        ),
        (
            7,
            32,
            &[
                (0, 0x0000_0000),
                (1, 0x0200_0000),
                (63, 0x7E00_0000),
                (64, 0x8000_0000),
                (65, 0x8208_2082),
                (100, 0xC924_9249),
                (126, 0xFDF7_DF7D),
                (127, 0xFFFF_FFFF),
            ],
        ),
        (
            14,
            32,
            &[
                (0, 0x0000_0000),
                (1, 0x0004_0000),
                (4096, 0x4000_0000),
                (8191, 0x7FFC_0000),
                (8192, 0x8000_0000),
                (8193, 0x8004_0020),
                (12288, 0xC002_0010),
                (16382, 0xFFFB_FFDF),
                (16383, 0xFFFF_FFFF),
            ],
        ),
    ];

    #[test]
    fn reference_values() {
        for (from, to, values) in VECTORS {
            for (value, scaled) in *values {
                assert_eq!(up(*value, *from, *to), *scaled, "{value}: {from} -> {to}");
            }
        }
    }

    #[test]
    fn least_centre_and_most_meet_and_order_stays() {
        for from in [2, 3, 7, 8, 14] {
            for to in [from, from + 1, 16, 29, 32] {
                let max = |bits: u32| u32::MAX >> (32 - bits);
                assert_eq!(up(0, from, to), 0);
                assert_eq!(up(1 << (from - 1), from, to), 1 << (to - 1));
                assert_eq!(up(max(from), from, to), max(to), "{from} -> {to}");
                let mut last = None;
                for value in 0..=max(from) {
                    let scaled = up(value, from, to);
                    assert!(last < Some(scaled));
                    last = Some(scaled);
                    assert_eq!(down(scaled, to, from), value);
                }
            }
        }
    }

    #[test]
    fn the_named_ones_are_the_general_one() {
        for value in 0..=0x7F_u8 {
            let wide = u32::from(value);
            assert_eq!(u32::from(up_7_to_16(value)), up(wide, 7, 16));
            assert_eq!(up_7_to_32(value), up(wide, 7, 32));
            assert_eq!(down_16_to_7(up_7_to_16(value)), value);
            assert_eq!(down_32_to_7(up_7_to_32(value)), value);
        }
        for value in 0..=0x3FFF_u16 {
            assert_eq!(up_14_to_32(value), up(u32::from(value), 14, 32));
            assert_eq!(down_32_to_14(up_14_to_32(value)), value);
        }
    }
}
