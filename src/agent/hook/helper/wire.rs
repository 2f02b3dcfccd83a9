//! What the agent and its helper say to each other: packets of numbers, nothing else.
//!
//! Little endian. Order: id (4), operation (1), place (4), generation (8), milliseconds (8).
//! Answer: the order's id (4), kind (1), a number (4); for *resolved* that many process numbers
//! (4 each). Both travel over a socket that keeps packets whole (`SOCK_SEQPACKET`).

use std::time::Duration;

/// Bytes of an order.
pub(super) const ORDER: usize = 25;

/// Process numbers that an answer holds at most.
pub(super) const MOST: usize = 1024;

/// Bytes that an answer has at most.
pub(super) const ANSWER: usize = 9 + 4 * MOST;

/// What the helper may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Run the command at `place`.
    Run {
        /// Which one of the configured commands.
        place: usize,
        /// What it is told.
        generation: u64,
        /// When it is ended.
        within: Duration,
    },
    /// Say who runs the executable at `place`.
    Resolve {
        /// Which one of the configured executables.
        place: usize,
    },
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The command ended; 128 and more for a signal.
    Ended(i32),
    /// It could not be started: 127 if it is not there, 126 if it can't be run.
    NotStarted(i32),
    /// It was ended.
    TooSlow,
    /// Who runs the executable.
    Resolved(Vec<u32>),
    /// There is nothing at that place.
    NoSuch,
}

impl Order {
    pub(super) fn encode(self, id: u32) -> [u8; ORDER] {
        let (operation, place, generation, within) = match self {
            Order::Run { place, generation, within } => (1, place, generation, within),
            Order::Resolve { place } => (2, place, 0, Duration::ZERO),
        };
        let mut packet = [0; ORDER];
        packet[..4].copy_from_slice(&id.to_le_bytes());
        packet[4] = operation;
        packet[5..9].copy_from_slice(&u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes());
        packet[9..17].copy_from_slice(&generation.to_le_bytes());
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        packet[17..].copy_from_slice(&millis.to_le_bytes());
        packet
    }

    /// The order and its id; `None` for what is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<(u32, Order)> {
        if packet.len() != ORDER {
            return None;
        }
        let place = usize::try_from(u32_at(packet, 5)?).ok()?;
        let generation = u64::from_le_bytes(packet[9..17].try_into().ok()?);
        let within = Duration::from_millis(u64::from_le_bytes(packet[17..].try_into().ok()?));
        let order = match packet[4] {
            1 => Order::Run { place, generation, within },
            2 => Order::Resolve { place },
            _ => return None,
        };
        Some((u32_at(packet, 0)?, order))
    }
}

impl Answer {
    pub(super) fn encode(&self, id: u32) -> Vec<u8> {
        let (kind, number, pids) = match self {
            Answer::Ended(code) => (1, *code, &[][..]),
            Answer::NotStarted(code) => (2, *code, &[][..]),
            Answer::TooSlow => (3, 0, &[][..]),
            Answer::Resolved(pids) => {
                let pids = &pids[..pids.len().min(MOST)];
                (4, i32::try_from(pids.len()).unwrap_or_default(), pids)
            }
            Answer::NoSuch => (5, 0, &[][..]),
        };
        let mut packet = Vec::with_capacity(ANSWER);
        packet.extend(id.to_le_bytes());
        packet.push(kind);
        packet.extend(number.to_le_bytes());
        packet.extend(pids.iter().flat_map(|pid| pid.to_le_bytes()));
        packet
    }

    /// The answer and the id of its order; `None` for what is not one.
    pub(super) fn decode(packet: &[u8]) -> Option<(u32, Answer)> {
        let number = i32::from_le_bytes(packet.get(5..9)?.try_into().ok()?);
        let answer = match packet[4] {
            1 => Answer::Ended(number),
            2 => Answer::NotStarted(number),
            3 => Answer::TooSlow,
            4 => {
                let pids = packet[9..].chunks_exact(4).map(|pid| u32_at(pid, 0));
                let pids = pids.collect::<Option<Vec<u32>>>()?;
                if usize::try_from(number) != Ok(pids.len()) {
                    return None;
                }
                Answer::Resolved(pids)
            }
            5 => Answer::NoSuch,
            _ => return None,
        };
        Some((u32_at(packet, 0)?, answer))
    }
}

fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(packet.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let within = Duration::from_millis(u64::from(u32::MAX) + 7);
        for order in
            [Order::Run { place: 3, generation: u64::MAX, within }, Order::Resolve { place: 9 }]
        {
            assert_eq!(Order::decode(&order.encode(77)), Some((77, order)));
        }
        for answer in [
            Answer::Ended(137),
            Answer::NotStarted(127),
            Answer::TooSlow,
            Answer::Resolved(vec![]),
            Answer::Resolved(vec![1, u32::MAX]),
            Answer::NoSuch,
        ] {
            assert_eq!(Answer::decode(&answer.encode(5)), Some((5, answer)));
        }
    }

    #[test]
    fn what_is_cut_or_unknown_is_not_heard() {
        let order = Order::Resolve { place: 0 }.encode(1);
        assert_eq!(Order::decode(&order[..ORDER - 1]), None);
        let mut unknown = order;
        unknown[4] = 3;
        assert_eq!(Order::decode(&unknown), None);
        assert_eq!(Order::decode(&[]), None);
        let answer = Answer::Resolved(vec![1, 2]).encode(1);
        assert_eq!(Answer::decode(&answer[..answer.len() - 4]), None);
        assert_eq!(Answer::decode(&answer[..8]), None);
        assert_eq!(Answer::decode(&[0; 9]), None);
    }

    #[test]
    fn an_answer_has_a_bound() {
        let many = Answer::Resolved((0..5000).collect());
        assert_eq!(many.encode(1).len(), ANSWER);
    }
}
