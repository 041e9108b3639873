//! Numbers in order of arrival, as a whole and per lane.
//!
//! The idle connections and the waiting callers are both such a queue. Every number stands in
//! two doubly linked lists, the one of all and the one of its lane, whose links live in an array
//! indexed by the number: adding and removing anywhere is O(1) and allocates nothing once the
//! array has grown.
//!
//! Invariant: the list of a lane is the list of all, filtered by that lane.
//! Left out: what the numbers mean.

use alloc::vec::Vec;

use crate::slot::Lane;

/// The end of a list.
const NONE: u32 = u32::MAX;

const ALL: usize = 0;
const LANE: usize = 1;

/// An ordered set of small numbers, each belonging to a lane.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    nodes: Vec<Node>,
    all: Ends,
    lanes: Vec<Ends>,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    links: [Link; 2],
    /// The lane, or `None` while the number is not in the queue.
    lane: Option<Lane>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    front: u32,
    back: u32,
}

/// Which end of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Front,
    Back,
}

const UNLINKED: Link = Link { before: NONE, after: NONE };
const EMPTY: Ends = Ends { front: NONE, back: NONE };

impl Lanes {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new(), all: EMPTY, lanes: Vec::new(), len: 0 }
    }

    /// Makes room for the number `index`; later additions of it allocate nothing.
    pub(crate) fn reserve(&mut self, index: u32, lane: Lane) {
        let (node, lane) = (index as usize, usize::from(lane.0));
        if self.nodes.len() <= node {
            self.nodes.resize(node + 1, Node { links: [UNLINKED; 2], lane: None });
        }
        if self.lanes.len() <= lane {
            self.lanes.resize(lane + 1, EMPTY);
        }
    }

    /// Adds a number at one end.
    ///
    /// # Panics
    /// When the number is in the queue already.
    pub(crate) fn push(&mut self, index: u32, lane: Lane, end: End) {
        self.reserve(index, lane);
        let node = &mut self.nodes[index as usize];
        assert!(node.lane.is_none(), "a number is added only once");
        node.lane = Some(lane);
        attach(&mut self.nodes, &mut self.all, ALL, index, end);
        attach(&mut self.nodes, &mut self.lanes[usize::from(lane.0)], LANE, index, end);
        self.len += 1;
    }

    /// Adds a number in front of a member.
    ///
    /// # Panics
    /// When the number is in the queue already, or `next` is not.
    pub(crate) fn insert_before(&mut self, index: u32, lane: Lane, next: u32) {
        self.reserve(index, lane);
        let node = &mut self.nodes[index as usize];
        assert!(node.lane.is_none(), "a number is added only once");
        node.lane = Some(lane);
        attach_before(&mut self.nodes, &mut self.all, ALL, index, next);
        // The next of the same lane stands at or behind the next of all.
        let mut at = Some(next);
        while let Some(member) = at {
            if self.nodes[member as usize].lane == Some(lane) && member != index {
                break;
            }
            at = self.behind(member);
        }
        let ends = &mut self.lanes[usize::from(lane.0)];
        match at {
            Some(member) => attach_before(&mut self.nodes, ends, LANE, index, member),
            None => attach(&mut self.nodes, ends, LANE, index, End::Back),
        }
        self.len += 1;
    }

    /// Removes a number wherever it stands.
    ///
    /// # Panics
    /// When the number is not in the queue.
    pub(crate) fn remove(&mut self, index: u32) {
        let lane = self.nodes[index as usize].lane.take().expect("only members are removed");
        detach(&mut self.nodes, &mut self.all, ALL, index);
        detach(&mut self.nodes, &mut self.lanes[usize::from(lane.0)], LANE, index);
        self.len -= 1;
    }

    /// Returns how many numbers are in the queue.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number at one end of the whole queue.
    pub(crate) fn at(&self, end: End) -> Option<u32> {
        self.all.at(end)
    }

    /// Returns the number at one end of a lane's part of the queue.
    pub(crate) fn at_lane(&self, lane: Lane, end: End) -> Option<u32> {
        self.lanes.get(usize::from(lane.0))?.at(end)
    }

    /// Returns the number behind a member, towards the back.
    pub(crate) fn behind(&self, index: u32) -> Option<u32> {
        some(self.nodes[index as usize].links[ALL].after)
    }

    /// Returns the number in front of a member.
    pub(crate) fn before(&self, index: u32) -> Option<u32> {
        some(self.nodes[index as usize].links[ALL].before)
    }

    /// Returns all numbers from front to back.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        core::iter::successors(self.at(End::Front), |index| self.behind(*index))
    }

    /// Checks every link by walking both ways.
    pub(crate) fn check_invariants(&self) {
        let members: Vec<u32> = self.iter().collect();
        assert_eq!(members.len(), self.len as usize, "the length is the number of members");
        let marked = self.nodes.iter().filter(|node| node.lane.is_some()).count();
        assert_eq!(marked, members.len(), "members are linked, others are not");
        let mut listed = 0;
        for (lane, ends) in self.lanes.iter().enumerate() {
            let mut expected =
                members.iter().copied().filter(|index| self.lane_of(*index) == Some(lane));
            let (mut at, mut before) = (ends.front, NONE);
            while at != NONE {
                assert_eq!(Some(at), expected.next(), "a lane keeps the order of all");
                assert_eq!(self.nodes[at as usize].links[LANE].before, before);
                (before, at) = (at, self.nodes[at as usize].links[LANE].after);
                listed += 1;
            }
            assert_eq!(expected.next(), None, "a lane lists all its members");
            assert_eq!(ends.back, before);
        }
        assert_eq!(listed, members.len(), "every member is in a lane");
        let backwards = core::iter::successors(self.at(End::Back), |index| {
            some(self.nodes[*index as usize].links[ALL].before)
        });
        assert!(backwards.eq(members.iter().rev().copied()), "both directions agree");
    }

    fn lane_of(&self, index: u32) -> Option<usize> {
        self.nodes[index as usize].lane.map(|lane| usize::from(lane.0))
    }
}

impl Ends {
    fn at(&self, end: End) -> Option<u32> {
        some(match end {
            End::Front => self.front,
            End::Back => self.back,
        })
    }
}

fn some(index: u32) -> Option<u32> {
    (index != NONE).then_some(index)
}

fn attach_before(nodes: &mut [Node], ends: &mut Ends, list: usize, index: u32, next: u32) {
    let before = nodes[next as usize].links[list].before;
    nodes[index as usize].links[list] = Link { before, after: next };
    nodes[next as usize].links[list].before = index;
    if before == NONE {
        ends.front = index;
    } else {
        nodes[before as usize].links[list].after = index;
    }
}

fn attach(nodes: &mut [Node], ends: &mut Ends, list: usize, index: u32, end: End) {
    let link = match end {
        End::Front => Link { before: NONE, after: ends.front },
        End::Back => Link { before: ends.back, after: NONE },
    };
    nodes[index as usize].links[list] = link;
    match some(link.before) {
        Some(before) => nodes[before as usize].links[list].after = index,
        None => ends.front = index,
    }
    match some(link.after) {
        Some(after) => nodes[after as usize].links[list].before = index,
        None => ends.back = index,
    }
}

fn detach(nodes: &mut [Node], ends: &mut Ends, list: usize, index: u32) {
    let link = core::mem::replace(&mut nodes[index as usize].links[list], UNLINKED);
    match some(link.before) {
        Some(before) => nodes[before as usize].links[list].after = link.after,
        None => ends.front = link.after,
    }
    match some(link.after) {
        Some(after) => nodes[after as usize].links[list].before = link.before,
        None => ends.back = link.before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(members: &[(u32, u16)]) -> Lanes {
        let mut queue = Lanes::new();
        for (index, lane) in members {
            queue.push(*index, Lane(*lane), End::Back);
        }
        queue
    }

    #[test]
    fn order_of_arrival_is_the_order_of_the_queue() {
        let queue = queue(&[(4, 0), (2, 1), (9, 0)]);
        assert!(queue.iter().eq([4, 2, 9]));
        assert_eq!(queue.at_lane(Lane(0), End::Back), Some(9));
        assert_eq!(queue.at_lane(Lane(1), End::Front), Some(2));
        assert_eq!(queue.at_lane(Lane(7), End::Front), None);
        queue.check_invariants();
    }

    #[test]
    fn removal_never_reorders() {
        for gone in [4, 2, 9, 5] {
            let mut queue = queue(&[(4, 0), (2, 1), (9, 0), (5, 1)]);
            queue.remove(gone);
            assert!(queue.iter().eq([4, 2, 9, 5].into_iter().filter(|index| *index != gone)));
            queue.check_invariants();
        }
    }

    #[test]
    fn a_number_put_in_front_is_the_first_of_all_and_of_its_lane() {
        let mut queue = queue(&[(4, 0), (2, 1)]);
        queue.push(6, Lane(1), End::Front);
        assert_eq!(queue.at(End::Front), Some(6));
        assert_eq!(queue.at_lane(Lane(1), End::Front), Some(6));
        queue.check_invariants();
    }
}
