//! decode(encode(m)) = m, for every message and every way to write it down.

use std::string::ToString;

use super::*;

fn comes_back(packet: Ump) {
    let text = packet_text(packet);
    assert_eq!(packet_of(&text), Ok(packet), "{text}");
}

#[test]
fn all_first_halves_of_the_first_word() {
    // Type, group, status, channel or count, for all sixteen types; the rest in some patterns.
    let rests: [u128; 4] = [0, u128::MAX, 0x0101 << 96, 0x3C64_0102_0304_0506_0708_090A_0B0C_0D0E];
    for head in 0..=0xFFFF_u128 {
        for rest in rests {
            comes_back(Ump::from_bits((head << 112) | (rest & (u128::MAX >> 16))));
        }
    }
}

#[test]
fn all_data_bytes_of_the_one_word_messages() {
    // Every status byte and every value of one data byte, beside several of the other.
    for head in (0..=0xFF_u128).flat_map(|status| [0x10, 0x21].map(|t| (t << 8) | status)) {
        for value in 0..=0xFF_u128 {
            for other in [0, 0x7F] {
                comes_back(Ump::from_bits((head << 112) | (value << 104) | (other << 96)));
                comes_back(Ump::from_bits((head << 112) | (other << 104) | (value << 96)));
            }
        }
    }
}

#[test]
fn all_heads_of_flex_data_and_stream() {
    // Form, address, channel, bank and status of Flex Data; form and status of UMP Stream.
    for head in 0..=0xFF_FFFF_u128 {
        // The banks that exist and one that does not: the others differ in nothing.
        if (head >> 8) & 0xFF > 3 || head & 0xFF > 0x22 {
            continue;
        }
        comes_back(Ump::from_bits((0xD0 << 120) | (head << 96)));
        comes_back(Ump::from_bits((0xF0 << 120) | (head << 96) | 0x61));
    }
}

#[test]
fn a_note_on_with_velocity_0_stays_one() {
    let text = r#"{"type":"noteOn","channel":16,"note":60,"velocity":0}"#;
    assert_eq!(packet_text(Ump::midi1(0, 0x9F, 60, 0)), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_packet_comes_back(packet in packets()) {
        let text = packet_text(packet);
        prop_assert_eq!(packet_of(&text), Ok(packet), "{}", text);
    }
}

proptest! {
    #[test]
    fn every_typed_packet_takes_a_typed_form_or_none(packet in packets()) {
        let is_ump = packet_text(packet).starts_with(r#"{"type":"ump","#);
        prop_assert_eq!(is_ump, schema::row_of(&packet).is_none());
    }

    #[test]
    fn every_packet_can_also_be_given_as_ump(packet in packets()) {
        let words: String = packet.words().iter().map(|w| std::format!("{w:08X}")).collect();
        let text = std::format!(r#"{{"words":"{words}","type":"ump"}}"#);
        prop_assert_eq!(packet_of(&text), Ok(packet));
    }

    #[test]
    fn records_come_back(
        packet in packets(), data in prop::collection::vec(0u8..128, 0..100),
        bytes in prop::collection::vec(any::<u8>(), 0..100), group in 0u8..16,
        running in any::<bool>(), which in 0..3, time in prop::option::of(any::<u64>()),
        port in prop::option::of(any::<String>()), from in prop::option::of("[\\x00-\\x7f]{0,20}"),
    ) {
        let message = match which {
            0 => Message::Ump(packet),
            1 => Message::Sysex { group, data: &data },
            _ => Message::Bytes { data: &bytes, running },
        };
        let record = Record { message, time, port: port.as_deref(), from: from.as_deref() };
        let text = text(&record);

        // The same text by way of the buffer, in exactly the room that it takes.
        let mut buffer = std::vec![0; text.len()];
        prop_assert_eq!(encode(&record, &mut buffer), Ok(text.len()));
        prop_assert_eq!(&buffer, text.as_bytes());
        let needed = text.len();
        prop_assert_eq!(
            encode(&record, &mut buffer[..needed - 1]),
            Err(EncodeError::Buffer { needed }),
        );

        let mut scratch = std::vec![0; text.len()];
        prop_assert_eq!(decode(text.as_bytes(), &mut scratch), Ok(record));
    }

    #[test]
    fn any_order_white_space_and_escapes_mean_the_same(
        packet in packets(), time in prop::option::of(any::<u64>()),
        port in prop::option::of(any::<String>()), turn in any::<prop::sample::Index>(),
        spaces in prop::collection::vec("[ \\t\\r\\n]{0,3}", 8), escape in any::<bool>(),
    ) {
        let record = Record { time, port: port.as_deref(), ..packet.into() };
        let canonical = text(&record);
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&canonical).unwrap();
        let string = |s: &str| if escape { all_escaped(s) } else { serde_json::to_string(s).unwrap() };
        let mut written: Vec<String> = members
            .iter()
            .map(|(key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), string);
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| &spaces[i]);
                std::format!("{a}{}{b}:{c}{value}{d}", string(key))
            })
            .collect();
        let by = turn.index(written.len());
        written.rotate_left(by);
        if spaces[4].len() > 1 {
            written.reverse();
        }
        let text = std::format!("{}{{{}}}{}", spaces[5], written.join(","), spaces[6]);
        let mut scratch = std::vec![0; text.len()];
        prop_assert_eq!(decode(text.as_bytes(), &mut scratch), Ok(record), "{}", text);
    }
}

/// A string in which every character is a `\u` escape, surrogates where there have to be.
fn all_escaped(plain: &str) -> String {
    let units: String = plain.encode_utf16().map(|unit| std::format!("\\u{unit:04x}")).collect();
    std::format!("\"{units}\"")
}
