//! Tests of the state against a slow, obvious model.

use super::*;

#[test]
fn a_table_never_grows_its_memory() {
    let mut table = StateTable::new();
    let before = table.capacities();
    for n in 0..20_000u32 {
        let from = crate::id::PortId(u16::try_from(n / 512).unwrap());
        let [.., channel, note] = (n % 512 * 2).to_be_bytes();
        let message = crate::midi::Ump::midi1(0, 0x90 | channel, note >> 1, 1);
        let strand = Strand::of(from, crate::id::PortId(0), &message);
        table.apply(
            strand,
            crate::seq::SeqNo::new(n.into()),
            crate::time::LocalTime::ZERO,
            &message,
        );
        if n % 1000 == 0 {
            table.sort();
        }
    }
    assert_eq!(table.len(), crate::config::STATE_KEYS_FILLED);
    assert_eq!(table.capacities(), before);
}
