//! What is refused, and in which words.

use std::string::ToString;

use super::*;

fn refusal(text: &[u8]) -> String {
    let mut scratch = std::vec![0; text.len()];
    match decode(text, &mut scratch) {
        Ok(record) => panic!("{record:?} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn faults_are_named_with_place_and_key() {
    let cases: &[(&str, &str)] = &[
        ("", "at byte 0: the text ends too soon"),
        ("[]", "at byte 0: an object in braces should stand here"),
        ("{", "at byte 1: the text ends too soon"),
        ("{}", "at byte 1: key \"type\": is missing"),
        (r#"{"type":"clock",}"#, "at byte 16: a key in quotes should stand here"),
        (r#"{"type":"clock"} 1"#, "at byte 17: something follows the record"),
        (r#"{"type":"clock"]"#, "at byte 15: a comma or a closing brace should stand here"),
        (r#"{"type" "clock"}"#, "at byte 8: a colon should stand here"),
        (r#"{"type":clock}"#, "at byte 8: key \"type\": a value should stand here"),
        (r#"{"type":7}"#, "at byte 8: key \"type\": a number where a string should be"),
        (r#"{"type":null}"#, "at byte 8: key \"type\": null where a string should be"),
        (
            r#"{"type":["clock"]}"#,
            "at byte 8: key \"type\": an array where a plain value should be",
        ),
        (r#"{"type":"Clock"}"#, "at byte 8: key \"type\": there is no such type"),
        (
            r#"{"type":"assignableController"}"#,
            "at byte 8: key \"type\": a message of this type has \"midi\":2",
        ),
        (
            r#"{"midi":2,"type":"clock"}"#,
            "at byte 17: key \"type\": a message of this type has \"midi\":1",
        ),
        (r#"{"type":"clock","midi":3}"#, "at byte 23: key \"midi\": 3 is out of range 1-2"),
        (r#"{"type":"clock","type":"stop"}"#, "at byte 16: key \"type\": the key stands twice"),
        (
            r#"{"type":"clock","\u0074ype":"stop"}"#,
            "at byte 16: key \"type\": the key stands twice",
        ),
        (
            r#"{"type":"clock","channel":1}"#,
            "at byte 16: key \"channel\": a message of this type has no such key",
        ),
        (r#"{"type":"clock","group":0}"#, "at byte 24: key \"group\": 0 is out of range 1-16"),
        (r#"{"type":"clock","group":17}"#, "at byte 24: key \"group\": 17 is out of range 1-16"),
        (r#"{"type":"clock","group":-1}"#, "at byte 24: key \"group\": -1 is out of range 1-16"),
        (
            r#"{"type":"clock","group":1.0}"#,
            "at byte 24: key \"group\": the number is not an integer",
        ),
        (
            r#"{"type":"clock","group":1e0}"#,
            "at byte 24: key \"group\": the number is not an integer",
        ),
        (
            r#"{"type":"clock","group":01}"#,
            "at byte 24: key \"group\": a number without a leading zero should stand here",
        ),
        (r#"{"type":"clock","time":-0}"#, "at byte 23: key \"time\": the number is not an integer"),
        (
            r#"{"type":"clock","group":"1"}"#,
            "at byte 24: key \"group\": a string where an integer should be",
        ),
        (
            r#"{"type":"clock","time":18446744073709551616}"#,
            "at byte 23: key \"time\": the number is out of range 0-18446744073709551615",
        ),
        (
            r#"{"type":"clock","port":1}"#,
            "at byte 23: key \"port\": a number where a string should be",
        ),
        (r#"{"type":"noteOn","channel":1,"note":60}"#, "at byte 38: key \"velocity\": is missing"),
        (
            r#"{"type":"noteOn","chanel":1,"note":60}"#,
            "at byte 17: key \"chanel\": a message of this type has no such key",
        ),
        (
            r#"{"type":"relativeRegisteredController","midi":2,"channel":1,"bank":0,"index":0,"value":2147483648}"#,
            "at byte 87: key \"value\": 2147483648 is out of range -2147483648 to 2147483647",
        ),
        (
            r#"{"type":"programChange","midi":2,"channel":1,"program":5,"bankLsb":2}"#,
            "at byte 68: key \"bankMsb\": is missing",
        ),
        (
            r#"{"type":"sysex7","part":"middle","data":""}"#,
            "at byte 24: key \"part\": the word is none of complete, start, continue, end",
        ),
        (
            r#"{"type":"sysex7","part":"end","data":"01020304050607"}"#,
            "at byte 37: key \"data\": more than 6 bytes",
        ),
        (r#"{"type":"sysex","data":"0g"}"#, "at byte 25: key \"data\": not a hexadecimal digit"),
        (
            r#"{"type":"sysex","data":"012"}"#,
            "at byte 27: key \"data\": the number of hexadecimal digits is odd",
        ),
        (
            r#"{"type":"sysex","data":"0180"}"#,
            "at byte 26: key \"data\": a byte is above 7f, but has 7 bits here",
        ),
        (
            r#"{"type":"sysex","data":"01","running":true}"#,
            "at byte 28: key \"running\": a message of this type has no such key",
        ),
        (
            r#"{"type":"bytes","data":"01","running":1}"#,
            "at byte 38: key \"running\": a number where true or false should be",
        ),
        (
            r#"{"type":"ump","words":"20903c"}"#,
            "at byte 22: key \"words\": the number of words does not suit the message type",
        ),
        (
            r#"{"type":"ump","words":"20903c6400000000"}"#,
            "at byte 22: key \"words\": the number of words does not suit the message type",
        ),
        (
            r#"{"type":"ump","words":"20903c64","group":2}"#,
            "at byte 33: key \"group\": a message of this type has no such key",
        ),
        (
            r#"{"type":"lyrics","part":"end","text":"a","data":"000000000000000000000000"}"#,
            "at byte 48: key \"data\": cannot stand beside \"text\"",
        ),
        (r#"{"type":"lyrics","part":"end"}"#, "at byte 29: key \"text\": is missing"),
        (
            r#"{"type":"lyrics","part":"end","text":"Stille Nacht,"}"#,
            "at byte 37: key \"text\": more than 12 bytes",
        ),
        (
            r#"{"type":"lyrics","part":"end","data":"00"}"#,
            "at byte 37: key \"data\": fewer than 12 bytes",
        ),
        (r#"{"type":"a\x"}"#, "at byte 10: key \"type\": JSON does not know this escape"),
        (r#"{"type":"\ud800"}"#, "at byte 15: key \"type\": half of a surrogate pair stands alone"),
        (r#"{"type":"\udc00"}"#, "at byte 15: key \"type\": half of a surrogate pair stands alone"),
        (
            r#"{"type":"\ud83d\u0041"}"#,
            "at byte 15: key \"type\": half of a surrogate pair stands alone",
        ),
        ("{\"type\":\"a\nb\"}", "at byte 10: key \"type\": a control character has to be escaped"),
    ];
    for (text, meant) in cases {
        assert_eq!(refusal(text.as_bytes()), *meant, "{text}");
    }
    assert_eq!(
        refusal(b"{\"type\":\"a\xFF\"}"),
        "at byte 10: key \"type\": the string is not UTF-8"
    );
    let many: String = (0..40).map(|i| std::format!(r#","k{i}":1"#)).collect();
    let text = std::format!(r#"{{"type":"clock"{many}}}"#);
    assert!(refusal(text.as_bytes()).contains("more keys than any message has"));
}

#[test]
fn a_scratch_buffer_that_is_too_small_is_said_so() {
    let text = br#"{"type":"sysex","data":"010203","port":"a\n"}"#;
    for room in 0..=text.len() {
        let mut scratch = std::vec![0; room];
        let result = decode(text, &mut scratch);
        // Three bytes of SysEx, two of the port's name.
        assert_eq!(result.is_ok(), room >= 5, "{room}");
        if let Err(error) = result {
            assert_eq!(error.reason, Reason::Scratch);
        }
    }
}

#[test]
fn what_no_json_exists_for_is_not_written() {
    let sysex = |group, data| Record::from(Message::Sysex { group, data });
    let mut buffer = [0; 99];
    assert_eq!(encode(&sysex(0, &[1, 0x80]), &mut buffer), Err(EncodeError::NotSevenBit { at: 1 }));
    assert_eq!(encode(&sysex(16, &[]), &mut buffer), Err(EncodeError::Group { found: 16 }));
}

#[test]
fn a_batch_is_an_array_or_lines() {
    let lines = b"\n{\"type\":\"start\"}\r\n\n {\"type\":\"stop\"}";
    let array = b" [ {\"type\":\"start\"} , {\"type\":\"stop\"} ] ";
    for text in [&lines[..], &array[..]] {
        let mut reader = Reader::new(text);
        let mut seen = Vec::new();
        while let Some(record) = reader.next(&mut []) {
            let Message::Ump(packet) = record.unwrap().message else { panic!() };
            seen.push(packet.status());
        }
        assert_eq!(seen, [0xFA, 0xFC]);
        assert_eq!(reader.offset(), text.len());
    }
    assert!(Reader::new(b" [] [ ] ").next(&mut []).is_none());
    for broken in
        ["[", "[{\"type\":\"start\"}", "[{\"type\":\"start\"},]", "[{\"type\":\"start\"};]"]
    {
        let mut reader = Reader::new(broken.as_bytes());
        let mut faults = 0;
        while let Some(record) = reader.next(&mut []) {
            faults += usize::from(record.is_err());
        }
        assert!(faults >= 1, "{broken}");
    }
}

#[test]
fn a_line_that_is_cut_off_does_not_take_the_next_one_with_it() {
    let whole = r#"{"type":"clock","group":2,"port":"a"}"#;
    for cut in 1..whole.len() {
        let text = std::format!("{whole}\n{}\n{whole}\n{whole}", &whole[..cut]);
        let mut reader = Reader::new(text.as_bytes());
        let mut seen = Vec::new();
        while let Some(record) = reader.next(&mut []) {
            seen.push(record.is_ok());
        }
        assert_eq!(seen, [true, false, true, true], "{text}");
    }
}

proptest! {
    #[test]
    fn a_fault_in_one_line_costs_one_line(
        good in prop::collection::vec(packets(), 1..5), bad in "[^\\n\\[]{0,30}",
        at in any::<prop::sample::Index>(),
    ) {
        let mut lines: Vec<String> = good.iter().map(|p| packet_text(*p)).collect();
        lines.insert(at.index(lines.len() + 1), bad);
        let text = lines.join("\n");
        let mut reader = Reader::new(text.as_bytes());
        let mut scratch = std::vec![0; text.len()];
        let mut seen = Vec::new();
        while let Some(record) = reader.next(&mut scratch) {
            if let Ok(Record { message: Message::Ump(packet), .. }) = record {
                seen.push(packet);
            }
        }
        prop_assert_eq!(seen, good);
    }

    #[test]
    fn anything_is_read_or_refused(
        packet in packets(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(), room in 0usize..40,
    ) {
        let mut text = packet_text(packet).into_bytes();
        let place = at.index(text.len());
        text[place] = byte;
        let mut scratch = std::vec![0; room];
        if let Ok(record) = decode(&text, &mut scratch) {
            let again = super::text(&record);
            let mut scratch = std::vec![0; again.len()];
            prop_assert_eq!(decode(again.as_bytes(), &mut scratch), Ok(record));
        }
        let mut scratch = std::vec![0; text.len()];
        let shorter = cut.index(text.len());
        prop_assert!(decode(&text[..shorter], &mut scratch).is_err());
    }

    #[test]
    fn json_that_we_take_is_json(
        text in r#"\{("(type|note|group|time)" ?: ?("clock"|-?[0-9.e]{1,4}|"\\u?[0-9a-f]{0,4}"|true),?){0,3}\}"#,
    ) {
        let mut scratch = std::vec![0; text.len()];
        if decode(text.as_bytes(), &mut scratch).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}

#[test]
fn the_examples_of_the_documentation_are_canonical() {
    let page = include_str!("../../../../../docs/jsonmidi.md");
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with('{')) {
        let mut scratch = std::vec![0; line.len()];
        let record = decode(line.as_bytes(), &mut scratch).unwrap();
        assert_eq!(text(&record), line);
        seen += 1;
    }
    assert!(seen > 30, "{seen} examples: has the page lost some?");
}
