//! Do random queries find what a plain look at all threads finds, and do pages show each of them once?

use std::cmp::Ordering;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use stepmark_core::capability::{AttributeKind, AttributeValue, Condition, Cursor, Order, Search, SearchQuery, Test};
use stepmark_core::id::hash16;
use stepmark_core::store::CheckpointStore;

use super::{born, change, condition, declare, names, query, set};
use crate::env::StoreEnv;
use crate::make::Line;

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 += 1;
        let bytes = hash16(&self.0.to_le_bytes());
        u64::from_le_bytes(std::array::from_fn(|index| bytes[index])) % sides
    }
}

const TEXTS: [&str; 6] = ["", "a", "ab", "b%", "ba", "é"];
const NUMBERS: [f64; 4] = [-1.5, 0.0, 0.25, 1e9];

/// A thread as the model knows it: values compare as what they are, not as they are stored.
struct Known {
    name: String,
    text: Option<&'static str>,
    size: Option<i64>,
    score: Option<f64>,
}

impl Known {
    fn drawn(dice: &mut Dice, index: u64) -> Self {
        let some = |dice: &mut Dice| dice.throw(4) > 0;
        Self {
            name: format!("t{index:02}"),
            text: some(dice).then(|| TEXTS[dice.throw(6) as usize]),
            size: some(dice).then(|| dice.throw(7) as i64 - 3),
            score: some(dice).then(|| NUMBERS[dice.throw(4) as usize]),
        }
    }

    fn accepts(&self, condition: &Condition) -> bool {
        let Condition::Attribute { name, test } = condition else { unreachable!("attributes alone are drawn") };
        match &**name {
            "text" => self.text.is_some_and(|text| match test {
                Test::Is(value) => *value == text.into(),
                Test::Contains(part) => text.contains(part),
                Test::Between(from, to) => range(from, to, |value| match value {
                    AttributeValue::Text(text) => text.clone(),
                    other => unreachable!("{other:?}"),
                })
                .contains(&text.to_owned()),
            }),
            "size" => self.size.is_some_and(|size| match test {
                Test::Is(value) => *value == size.into(),
                Test::Between(from, to) => range(from, to, |value| match value {
                    AttributeValue::Integer(size) => *size,
                    other => unreachable!("{other:?}"),
                })
                .contains(&size),
                Test::Contains(_) => unreachable!("texts alone contain"),
            }),
            _ => self.score.is_some_and(|score| match test {
                Test::Is(value) => *value == score.into(),
                Test::Between(from, to) => range(from, to, |value| match value {
                    AttributeValue::Number(score) => *score,
                    other => unreachable!("{other:?}"),
                })
                .contains(&score),
                Test::Contains(_) => unreachable!("texts alone contain"),
            }),
        }
    }
}

type Ends<T> = (Bound<T>, Bound<T>);

fn range<T>(from: &Bound<AttributeValue>, to: &Bound<AttributeValue>, read: fn(&AttributeValue) -> T) -> Ends<T> {
    (from.as_ref().map(read), to.as_ref().map(read))
}

fn value(dice: &mut Dice, name: &str) -> AttributeValue {
    match name {
        "text" => TEXTS[dice.throw(6) as usize].into(),
        "size" => (dice.throw(9) as i64 - 4).into(),
        _ => NUMBERS[dice.throw(4) as usize].into(),
    }
}

fn bound(dice: &mut Dice, name: &str) -> Bound<AttributeValue> {
    match dice.throw(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(value(dice, name)),
        _ => Bound::Excluded(value(dice, name)),
    }
}

fn drawn(dice: &mut Dice) -> Condition {
    let name = ["text", "size", "score"][dice.throw(3) as usize];
    let test = match dice.throw(3) {
        0 => Test::Is(value(dice, name)),
        1 if name == "text" => Test::Contains(TEXTS[dice.throw(6) as usize].into()),
        _ => Test::Between(bound(dice, name), bound(dice, name)),
    };
    condition(name, test)
}

fn compare(order: &Order, one: &Known, other: &Known) -> Ordering {
    let first = match order {
        Order::Attribute(name) if name == "size" => one.size.cmp(&other.size),
        Order::Attribute(name) if name == "text" => one.text.cmp(&other.text),
        Order::Attribute(_) => one.score.partial_cmp(&other.score).expect("finite numbers"),
        _ => Ordering::Equal,
    };
    first.then_with(|| one.name.cmp(&other.name))
}

fn expected(known: &[Known], query: &SearchQuery) -> Vec<String> {
    let mut found: Vec<&Known> = known.iter().collect();
    found.retain(|one| query.conditions.iter().all(|condition| one.accepts(condition)));
    found.retain(|one| match &query.order {
        Order::Attribute(name) if name == "size" => one.size.is_some(),
        Order::Attribute(name) if name == "text" => one.text.is_some(),
        Order::Attribute(_) => one.score.is_some(),
        _ => true,
    });
    found.sort_by(|one, other| compare(&query.order, one, other));
    if query.descending {
        found.reverse();
    }
    found.into_iter().map(|one| one.name.clone()).collect()
}

async fn furnished(store: &Arc<dyn CheckpointStore>, search: &dyn Search, dice: &mut Dice) -> Vec<Known> {
    let kinds = [("text", AttributeKind::Text), ("size", AttributeKind::Integer), ("score", AttributeKind::Number)];
    declare(search, &kinds).await;
    let mut known = Vec::new();
    for index in 0..25 {
        let one = Known::drawn(dice, index);
        let line = born(store, "", &one.name).await;
        let mut changes: Vec<_> = one.text.map(|text| change("text", text)).into_iter().collect();
        changes.extend(one.size.map(|size| change("size", size)));
        changes.extend(one.score.map(|score| change("score", score)));
        set(&line, changes).await;
        known.push(one);
    }
    known
}

/// Random conditions and orders find what a look at every thread finds, page by page.
pub async fn threads_are_found_by_attributes(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    let mut dice = Dice(1);
    let known = furnished(&store, search, &mut dice).await;
    for _ in 0..60 {
        let conditions = (0..dice.throw(3)).map(|_| drawn(&mut dice)).collect();
        let order = match dice.throw(3) {
            0 => Order::Name,
            _ => Order::Attribute(["text", "size", "score"][dice.throw(3) as usize].into()),
        };
        let asked = SearchQuery { order, descending: dice.throw(2) == 0, ..query(conditions) };
        let expected = expected(&known, &asked);
        assert_eq!(names(search, asked.clone()).await, expected, "{asked:?}");
        let limit = dice.throw(5) as u32;
        assert_eq!(walk(search, SearchQuery { limit, ..asked.clone() }).await, expected, "by {limit}: {asked:?}");
    }
}

async fn page(search: &dyn Search, query: SearchQuery) -> (Vec<String>, Option<Cursor>) {
    let limit = query.limit.max(1) as usize;
    let page = search.find(query).await.expect("the store answers");
    assert!(page.threads.len() <= limit);
    (page.threads.into_iter().map(|found| found.entry.thread.name).collect(), page.next)
}

async fn walk(search: &dyn Search, mut query: SearchQuery) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..100 {
        let (names, next) = page(search, query.clone()).await;
        found.extend(names);
        match next {
            None => return found,
            after => query.after = after,
        }
    }
    panic!("the walk does not end");
}

/// A walk in any order sees every thread that is there all the time once, whoever comes and goes meanwhile.
pub async fn found_threads_are_paged_once(env: &dyn StoreEnv) {
    let store = env.fresh().await;
    let Some(search) = store.search() else { return };
    declare(search, &[("size", AttributeKind::Integer)]).await;
    let orders = [Order::Name, Order::Created, Order::Updated, Order::Attribute("size".into())];
    let mut lines = Vec::new();
    for index in 0..9 {
        let line = born(&store, "", &format!("t{index}")).await;
        set(&line, vec![change("size", index / 3)]).await;
        lines.push(line);
    }
    for (round, order) in orders.into_iter().flat_map(|order| [(order.clone(), false), (order, true)]).enumerate() {
        let (order, descending) = order;
        let mut asked = SearchQuery { order, descending, limit: 2, ..query(Vec::new()) };
        let mut found = Vec::new();
        for moment in 0.. {
            let (names, next) = page(search, asked.clone()).await;
            found.extend(names);
            let Some(after) = next else { break };
            asked.after = Some(after);
            if moment < 3 {
                come_and_go(&store, round, moment).await;
            }
        }
        found.retain(|name| name.starts_with('t'));
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(sorted, lines.iter().map(|line: &Line| line.thread.name.clone()).collect::<Vec<_>>(), "{asked:?}");
    }
}

/// One thread before all others and one behind; the one of a moment ago goes.
async fn come_and_go(store: &Arc<dyn CheckpointStore>, round: usize, moment: usize) {
    for edge in ["a", "z"] {
        let line = born(store, "", &format!("{edge}{round}-{moment}")).await;
        set(&line, vec![change("size", if edge == "a" { -1 } else { 9 })]).await;
        if moment % 2 == 1 {
            store.delete_thread(line.thread.uid).await.expect("it is there");
        }
    }
}
