//! Every tunable: its unit in the type, its default, its bounds and the reason.
//!
//! [`Config`] holds what a user may change; the constants are limits that the layout of tables and
//! datagrams depends on. At each limit the policy is written where the limit is used, and counted.

use crate::control::trust::TrustPolicy;
use crate::time::Span;

/// Ports of one node, mirrors included: the ids 1 to 511. As many mirrors as there may be, and a hundred ports
/// of its own; tables indexed by port stay small.
pub const PORTS_MAX: usize = 512;

/// Remote sinks that a program's own thread sends to itself; with more of them the real-time thread does
/// it, so that no program is held up by the size of a session.
pub const DIRECT_SINKS_MAX: usize = 4;

/// Links of one node at the same time: 255 other nodes, and the local loop as number 0. What a link needs
/// is there once it is made, and what is kept for one that is not made yet is a few words.
pub const LINKS_MAX: usize = 256;

/// Machines whose nodes dialled this one and cannot become peers, remembered for people to see. A
/// session that is updated node by node fits; at one more the one that came longest ago is forgotten.
pub const STRANGERS_MAX: usize = 64;

/// How long such a machine is remembered after it came last: it tries each minute, so one that missed
/// three is gone.
pub const STRANGER_KEPT_FOR: Span = Span::from_s(210);

/// Nodes that a node trusts because somebody confirmed them; one more is refused with an error. Four studios of
/// as many nodes as there may be links with.
pub const TRUSTED_MAX: usize = 1024;

/// Connections that wait to be confirmed; of one more the oldest goes, of the machine that has most. A class of
/// thirty that is set up at once fits.
pub const WAITING_MAX: usize = 64;

/// The same from one machine: a few nodes, each with a connection that is not known to be dead yet.
pub const WAITING_EACH: usize = 8;

/// Times that somebody may refuse a node, or nodes of a machine, before it is no longer asked about, for
/// [`PAIRING_PAUSE`]. With six digits each time somebody in between has three chances in a million.
pub const REFUSALS_MAX: u32 = 3;

/// How long a refusal counts, from the last one on.
pub const PAIRING_PAUSE: Span = Span::from_s(600);

/// Guesses at the passphrase of a session, wrong or not answered for yet, that a node lets all others have within
/// [`GUESSES_WITHIN`]. Keys cost nothing and some have many addresses: of a passphrase of 60 bits they find in a
/// year one in forty thousand million. Honest nodes are through in milliseconds each.
pub const GUESSES_MAX: usize = 50;

/// How long a guess counts.
pub const GUESSES_WITHIN: Span = Span::from_s(60);

/// Until a node with another passphrase is dialled again. Longer than [`PAIRING_PAUSE`] and half of it: two honest
/// nodes of which one has a slip in its passphrase try each other once each, and neither is refused for it when the
/// slip is mended.
pub const PASSPHRASE_PAUSE: Span = Span::from_s(900);

/// Routes in the data plane. A full default bus between 64 nodes with a handful of ports fits; one
/// more is refused and said.
pub const ROUTES_MAX: usize = 4096;

/// Routes that people made and that are in force: each has a number like a port's, of the [`PORTS_MAX`] of the node; one
/// more is left out and said.
pub const TAPS_MAX: usize = 128;

/// Clients (programs that speak JSONMIDI over TOAST) of one node at the same time; one more is refused with
/// a bye, and said. Each has two ports at most, so that the [`PORTS_MAX`] of the node are the limit before.
pub const CLIENTS_MAX: usize = 256;

/// Events that a sender keeps until they are acknowledged, and that a receiver keeps while it waits
/// for an older one. At 1,000 events/s this is two seconds. At overflow the oldest goes.
pub const HISTORY_EVENTS: usize = 2048;

/// Events between one producer (a program, a driver's thread) and the real-time thread. The densest tick
/// of a dense piece has 245; at 2,000 events/s a thread that sleeps through a whole second loses none.
/// At overflow the oldest goes, is counted, and is repaired from the producer's state table.
pub const RING_EVENTS: usize = 2048;

/// Places for values of the musical state, in each direction of a link; a power of two. A GM song on 16
/// channels with a dozen controllers each, its notes and some parameters needs 500. 32 bytes a place.
pub const STATE_KEYS: usize = 4096;

/// Values that are kept at most, so that looking for one stays short. One more is not kept, and counted.
pub const STATE_KEYS_FILLED: usize = STATE_KEYS / 4 * 3;

/// From here on only notes are kept: a value that is not repaired is heard, a note that hangs is worse.
pub const STATE_KEYS_VALUES: usize = STATE_KEYS / 2;

/// Numbered parameters (RPN, NRPN) that are kept per channel. At one more the one that was set longest
/// ago is forgotten: whoever moves 33 knobs remembers the last.
pub const STATE_PARAMETERS: usize = 32;

/// Things with a state (notes, controllers, …) that the table of one source holds: all notes of all
/// channels of a group, and as many other things. 96 KiB a source. When there is no room the repair after
/// an overflow releases everything of the source.
pub const SOURCE_TABLE: usize = 4096;

/// Endings (note-offs and the like) that a state table remembers for snapshots older than they are. As
/// many as come in a second of dense playing. At overflow the next snapshot repairs.
pub const STATE_ENDED: usize = 512;

/// Messages that wait for one output whose device is slow. At overflow the oldest goes.
pub const OUTPUT_QUEUE: usize = 4096;

/// The least and the most that a scheduled output's latency may be. Less than half a millisecond is
/// less than a thread takes to wake under load; half a second is an orchestra's distance, and what
/// waits so long at a thousand messages a second is an eighth of [`OUTPUT_QUEUE`].
pub const LATENCY_MIN: Span = Span::from_us(500);
/// See [`LATENCY_MIN`].
pub const LATENCY_MAX: Span = Span::from_ms(500);

/// The latency with which an adaptive output begins, before anything is measured: good Wi-Fi has less.
/// What is too much goes slowly, what is too little is heard.
pub const ADAPTIVE_START: Span = Span::from_ms(10);

/// The most that an adaptive output's latency grows to: above, a late note is better late than all of
/// them.
pub const ADAPTIVE_MAX: Span = Span::from_ms(200);

/// What an adaptive latency has above the delay that was seen: the next one may be slower by a little,
/// and a thread must wake.
pub const ADAPTIVE_MARGIN: Span = Span::from_us(500);

/// How fast an adaptive latency shrinks, in millionths: half a millisecond a second changes two notes
/// 100 ms apart by 50 µs.
pub const ADAPTIVE_SHRINK_PPM: i64 = 500;

/// How far ahead of the cable a paced output is written: three bytes of DIN, so that it does not stand
/// still until a thread wakes, and what overtakes waits for one message at most.
pub const PACE_AHEAD: Span = Span::from_ms(1);

/// The bytes a second of a DIN cable: 31,250 baud of ten bits.
pub const DIN_BYTES: u32 = 3_125;

/// How long a bulk message that could begin lets messages of other sources go first. Then it begins, or
/// a player who never pauses would keep it for ever.
pub const BULK_YIELDS: Span = Span::from_s(1);

/// How long a device may take, when its output closes, for what lets go of what sounds.
pub const CLOSE_WITHIN: Span = Span::from_ms(300);

/// Sources whose clocks one output keeps apart. More than one is a mistake, and four are many.
pub const TICK_SOURCES: usize = 4;

/// Clocks (F8) that one source may be owed: four bars. One more is left out.
pub const TICKS_OWED_MAX: u32 = 384;

/// Sources whose notes one output keeps apart: one of each link, since all of them may play on the same
/// one. A note-on from one more source is refused. 288 bytes a source, touched only once it plays.
pub const HOLDERS_MAX: usize = LINKS_MAX;

/// How many of them may be sources of one link: nobody takes all the places of an output. A peer's port that
/// plays on all sixteen groups has its own.
pub const HOLDERS_OF_LINK: usize = 16;

/// Outputs (local destinations, mirrors of remote sources, app ports) at the same time.
pub const OUTPUTS_MAX: usize = 256;

/// The most that [`Config::mirrors_max`] may be: local ports and app ports need ids too.
pub const MIRRORS_MAX: usize = 400;

/// Pieces of bulk messages between the real-time thread and the bulk task.
pub const BULK_PIECES: usize = 4096;

/// Whole bulk messages that wait to be played on this node.
pub const BULK_WAITING: usize = 256;

/// The longest bulk message in 32-bit words: 16 MiB, more than any sample dump over MIDI.
pub const BULK_WORDS_MAX: usize = 4 << 20;

/// Offsets after an event's first sending at which it is repeated, until acknowledged; then every
/// [`REPEAT_EVERY`] for [`REPEAT_FAST_FOR`], then every [`REPEAT_SLOW_EVERY`]. Plain doubling fails: a
/// lone event would be 80 ms late at 50 % loss (p99) and 2.5 s at 66 %.
pub const REPEAT_OFFSETS: [Span; 4] =
    [Span::from_ms(2), Span::from_ms(5), Span::from_ms(10), Span::from_ms(20)];
/// See [`REPEAT_OFFSETS`].
pub const REPEAT_EVERY: Span = Span::from_ms(10);
/// See [`REPEAT_OFFSETS`].
pub const REPEAT_FAST_FOR: Span = Span::from_s(2);
/// See [`REPEAT_OFFSETS`].
pub const REPEAT_SLOW_EVERY: Span = Span::from_ms(40);

/// Where much is lost, each of the first milliseconds of an event has a copy…
pub const EARLY_EVERY: Span = Span::from_ms(1);
/// …until there are so many with the first; the one at 5 ms follows.
pub const EARLY_COPIES_MAX: u32 = 5;

/// Places for strands in a sender, by hash. Two that share a place wait for each other: with 64 strands
/// on a link, one in sixteen does.
pub const STRANDS: usize = 1024;

/// Entries of a snapshot in one datagram: 64 × 8 bytes, and 64 heads of 7 at the worst, are less than 1,000.
pub const SNAPSHOT_PART: usize = 64;

/// After a snapshot was sent, how much longer than a round trip it may take before another follows: at
/// first, and when none of several helped.
pub const SNAPSHOT_PAUSE_MIN: Span = Span::from_ms(20);
/// See [`SNAPSHOT_PAUSE_MIN`].
pub const SNAPSHOT_PAUSE_MAX: Span = Span::from_s(5);

/// A peer of whom nothing was heard for this long, though something waits for its answer, is asked with
/// one datagram at a time; and is sent all that is missing when it is heard again.
pub const QUIET_AFTER: Span = Span::from_ms(100);

/// Datagrams that are not echoed for so long do not pass, and the stream carries a copy of what is new:
/// two probes and a half…
pub const FALLBACK_AFTER: Span = Span::from_ms(1_200);
/// …and at a link's beginning, when probes follow each other fast, sooner.
pub const FALLBACK_FIRST: Span = Span::from_ms(700);

/// Packet counters behind the newest that are still taken: what 8 ms of jitter mix at 100,000 datagrams
/// a second.
pub const REPLAY_WINDOW: usize = 1024;

/// Datagrams that may wait for the streams that carry them. One more is dropped, as by a network.
pub const CARRIED_WAITING: usize = 256;

/// What a link's stream was given and nobody acknowledges for so long, it is given again: it may have found
/// no room. Longer than TCP takes to repeat a segment on a LAN…
pub const CARRIED_AGAIN: Span = Span::from_ms(250);
/// …twice as long each time, up to this.
pub const CARRIED_AGAIN_MAX: Span = Span::from_s(4);

/// A round trip that nobody has measured yet: a long LAN.
pub const RTT_UNKNOWN: Span = Span::from_ms(10);

/// A standing queue longer than this means that too much is being sent. Wi-Fi's own delays vary by as
/// much, but not in each of sixteen exchanges.
pub const QUEUE_LIMIT: Span = Span::from_ms(30);

/// Bytes a second of one link's datagrams: at the most what a gigabit carries…
pub const RATE_MAX: i64 = 125_000_000;
/// …and never less than a modem, so that a mistaken measurement does not end the music.
pub const RATE_MIN: i64 = 3_000;
/// Bytes that may leave at once: the history of a link, twice.
pub const RATE_BURST: i64 = 1 << 20;

/// Reports of what came go out at most this often.
pub const REPORT_EVERY: Span = Span::from_ms(50);

/// An acknowledgement waits at most this long for what it could cover or ride along with. It goes out at
/// once when, to judge by the last two datagrams with events, the next one comes later than that: to wait
/// for nothing costs a wake-up. A millisecond, and as much as a thread that plays a thousand events a
/// second is late by: so one wake-up takes an event and acknowledges two. The first repeat, after 2 ms, is
/// still to come.
pub const ACK_WITHIN: Span = Span::from_us(1_250);

/// Events after which an acknowledgement goes out at once, so that a fast sender is not held up.
pub const ACK_EVENTS: u32 = 64;

/// While a link is idle, a datagram goes out this often: it measures the round trip and keeps the
/// path open. Two a second cost 200 byte/s.
pub const PROBE_EVERY: Span = Span::from_ms(500);

/// Who hears its peer idle, and would have to send within half of that pause, answers at once: both wake up
/// once for two datagrams. So that the same end begins each time, it waits by so much less.
pub const PROBE_LEADS_BY: Span = Span::from_ms(10);

/// When a datagram leaves for that reason, those of other links that would follow so soon leave with it: a
/// node wakes up for several at a time, however many links it has…
pub const PROBE_WITH_OTHERS: Span = Span::from_ms(50);
/// …but for no more of them than this, so that a note waits behind few: on Wi-Fi each takes 150 µs.
pub const PROBES_TOGETHER: usize = 16;

/// So many times as often where much is lost: half as often as an event would be sent.
pub const PROBES_MOST: u32 = 5;

/// Right after a link is made, probes follow each other this fast, [`PROBE_FIRST`] times, so that the
/// round trip is known before the first note.
pub const PROBE_FAST: Span = Span::from_ms(20);
/// See [`PROBE_FAST`].
pub const PROBE_FIRST: u32 = 10;

/// Fragments of bulk messages that may be on one link without its peer having said that they are there:
/// 1 MiB of packets, which a path of 100 ms carries at 10 MB/s.
pub const BULK_FRAGMENTS_AHEAD: u32 = 1024;

/// A linked peer that says nothing of a bulk message for so long is asked about it…
pub const BULK_ASK_AGAIN: Span = Span::from_s(1);
/// …so many times; then the message has failed.
pub const BULK_ASKED_MOST: u32 = 3;

/// …if it is known that the peer has read what left after the first question: else the stream is at fault,
/// and it is waited for as long as this. (The stream is not given up before: where two packets in three are
/// lost it stands still for tens of seconds, while notes go by.)
pub const BULK_UNPROVEN: Span = Span::from_s(30);

/// How long bulk messages for a peer whose link broke are kept for its return.
pub const BULK_KEPT_FOR: Span = Span::from_s(60);

/// How long a link goes on by datagrams alone, after its stream was lost: as long as what waits for a stream
/// is kept.
pub const ADRIFT_FOR: Span = BULK_KEPT_FOR;

/// A stream by which nothing has come for so long, while datagrams pass, is given up: a machine that has another address
/// leaves one behind that its system would try for a quarter of an hour. But not where much is lost: there a stream stands
/// still for tens of seconds and goes on, and a new one may not come about.
pub const STREAM_SILENT_FOR: Span = BULK_UNPROVEN;

/// In this time after its stream was lost a datagram of the peer must have come: a program that was killed loses its
/// streams at once, and what it held is not to sound for as long as a silent network is waited for. An idle peer sends
/// one in half a second, and one that has lost the stream too, or is asked, at once.
pub const ADRIFT_SIGN_WITHIN: Span = Span::from_ms(1_000);

/// How often it is asked for one meanwhile.
pub const ADRIFT_ASK_EVERY: Span = Span::from_ms(50);

/// How often a link says that its peer lives.
pub const ALIVE_EVERY: Span = Span::from_ms(100);

/// Peers that are gone of which it is remembered which of their bulk messages came: so that none is
/// played twice. Of one more, the oldest is forgotten.
pub const BULK_MEMORIES: usize = 256;

/// Bulk messages that may wait for one link. One more is dropped.
pub const BULK_QUEUED_MAX: usize = 4096;

/// Bulk messages of one link that are under way at the same time: begun, and neither played nor refused
/// by the peer. The rest waits at its source. Eight such links fill the [`BULK_WAITING`] places of the
/// node that plays.
pub const BULK_WINDOW: usize = 32;

/// Words of bulk messages that are kept for one link: when there are as many, one more message is
/// dropped, so that a peer that does not read costs 32 MiB and a message.
pub const BULK_QUEUED_WORDS: usize = 2 * BULK_WORDS_MAX;

/// Words of whole bulk messages that wait to be played on this node: 64 MiB. One more message is
/// dropped.
pub const BULK_WAITING_WORDS: usize = 4 * BULK_WORDS_MAX;

/// Words of unfinished bulk messages from one link: 32 MiB. A fragment beyond drops its message.
pub const BULK_OPEN_WORDS: usize = 2 * BULK_WORDS_MAX;

/// Words of unfinished bulk messages from all links: 256 MiB, eight links that take all they may. A fragment
/// beyond drops its message.
pub const BULK_OPEN_WORDS_ALL: usize = 8 * BULK_OPEN_WORDS;

/// When a heartbeat leaves, those of so many other peers leave with it that are due within an eighth of
/// [`Config::heartbeat_every`]; see [`PROBES_TOGETHER`].
pub const HEARTBEATS_TOGETHER: usize = 16;

/// What a user may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A note-on that comes later than this, beyond what the network takes, is not played: it would be
    /// a wrong note. 10 ms to 5 s, default 150 ms.
    pub late_note_limit: Span,
    /// How long an event waits for those before it on its channel that have not come. 0 to 1 s, default
    /// 20 ms: most are repeated within that, and it is less than a listener notices.
    pub order_wait: Span,
    /// How long a number may be missing that nobody repeats, before what its link held is released.
    /// 100 ms to 10 s, default 3 s: a peer that lives repeats it, or sends a snapshot, long before.
    pub gap_limit: Span,
    /// How long a real-time event waits for the SysEx its source sent before it. 0 to 1 s, default
    /// 20 ms: a "GM On" of six bytes takes one round trip more than a note.
    pub bulk_wait: Span,
    /// Time between heartbeats. 100 ms to 10 s, default 1 s.
    pub heartbeat_every: Span,
    /// How gladly this node leads the mesh's clock: the highest does. 0 to 255, default 100.
    pub clock_priority: u8,
    /// Heartbeats missed before a peer counts as failed. 2 to 20, default 3.
    pub heartbeats_missed: u32,
    /// First pause before a failed connection is tried again; doubled up to `backoff_max`.
    /// 50 ms to 10 s, default 250 ms.
    pub backoff_min: Span,
    /// Longest pause between two tries. 1 s to 5 min, default 5 s: a musician who plugs in the cable
    /// does not wait longer.
    pub backoff_max: Span,
    /// How long mirrors of a node stay after its connection broke without a farewell, so that a blip
    /// does not tear down what a user has patched. 0 to 10 min, default 5 s.
    pub mirror_grace: Span,
    /// How long a connection may take from the first byte to the peer's hello. Default 5 s.
    pub hello_within: Span,
    /// Most mirrors on the local backend. 0 to [`MIRRORS_MAX`], default 128.
    pub mirrors_max: usize,
    /// Whether peers may reset devices here (system reset, FF). Default no.
    pub accept_reset: bool,
    /// Whom the node takes for a peer.
    pub trust: TrustPolicy,
    /// Whether notes go by datagram and all else by stream. Without, everything goes by stream: for networks
    /// and machines that let no UDP pass. Default yes.
    pub dual_transport: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            late_note_limit: Span::from_ms(150),
            order_wait: Span::from_ms(20),
            gap_limit: Span::from_s(3),
            bulk_wait: Span::from_ms(20),
            heartbeat_every: Span::from_s(1),
            heartbeats_missed: 3,
            clock_priority: 100,
            backoff_min: Span::from_ms(250),
            backoff_max: Span::from_s(5),
            mirror_grace: Span::from_s(5),
            hello_within: Span::from_s(5),
            mirrors_max: 128,
            accept_reset: false,
            trust: TrustPolicy::default(),
            dual_transport: true,
        }
    }
}
