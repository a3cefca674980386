//! The forms of one state, as its programs had it one after the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepmark::evolution::{RawError, RawState, Value};
use stepmark::reducer::{AddWrite, AppendWrite};
use stepmark::{Add, Append, Merge, State, Update};

/// Version 1.
pub(crate) mod v1 {
    use super::{Add, Append, BTreeMap, Deserialize, Merge, Serialize, State, Update};

    #[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Order {
        pub(crate) customer: String,
        #[reduce(Append)]
        pub(crate) lines: Vec<String>,
        #[reduce(Add)]
        pub(crate) cents: u64,
        #[reduce(Merge)]
        pub(crate) stock: BTreeMap<String, u32>,
        pub(crate) remark: String,
        pub(crate) internal: u32,
    }

    pub(crate) fn write(order: &Order, update: &mut Update<Order>) {
        let number = order.lines.len();
        update.customer.set("c".repeat(5000));
        update.lines.push(format!("line {number}"));
        update.cents.add(150);
        update.stock.insert(format!("part {number}"), 1);
        update.remark.set(format!("remark {number}"));
        update.internal.set(7);
    }
}

/// Version 2: lines have a price.
pub(crate) mod v2 {
    use super::{Add, Append, BTreeMap, Deserialize, Line, Merge, Serialize, State, Update, to_2, writes_to_2};

    #[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[state(version = 2, migrate(1 => to_2), migrate_writes(1 => writes_to_2))]
    pub(crate) struct Order {
        pub(crate) customer: String,
        #[reduce(Append)]
        pub(crate) lines: Vec<Line>,
        #[reduce(Add)]
        pub(crate) cents: u64,
        #[reduce(Merge)]
        pub(crate) stock: BTreeMap<String, u32>,
        pub(crate) remark: String,
        pub(crate) internal: u32,
    }

    pub(crate) fn write(order: &Order, update: &mut Update<Order>) {
        update.lines.push(Line { text: format!("line {}", order.lines.len()), price: 2 });
        update.cents.add(200);
    }
}

/// Version 3: euros; `remark` goes with its values, `internal` just goes, `customer` has another name, `carrier` is new.
pub(crate) mod v3 {
    use super::{
        Add, Append, BTreeMap, Deserialize, Line, Merge, Serialize, State, Update, to_2, to_3, writes_to_2, writes_to_3,
    };

    #[derive(State, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[state(version = 3)]
    #[state(migrate(2 => to_3, 1 => to_2), migrate_writes(1 => writes_to_2, 2 => writes_to_3))]
    pub(crate) struct Order {
        #[state(rename_from = "client", rename_from = "customer")]
        pub(crate) buyer: String,
        #[reduce(Append)]
        pub(crate) lines: Vec<Line>,
        #[reduce(Add)]
        pub(crate) euros: f64,
        #[reduce(Merge)]
        pub(crate) stock: BTreeMap<String, u32>,
        #[state(default = "post".to_owned())]
        pub(crate) carrier: String,
        #[state(ephemeral, default = 40 + 2)]
        pub(crate) hint: u32,
    }

    pub(crate) fn write(order: &Order, update: &mut Update<Order>) {
        update.euros.add(1.0);
        update.hint.set(order.hint + 1);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) price: u32,
}

fn line(text: String) -> Line {
    Line { text, price: 1 }
}

pub(crate) fn to_2(order: &mut RawState) -> Result<(), RawError> {
    let lines: Vec<String> = order.take("lines")?.unwrap_or_default();
    order.put("lines", &lines.into_iter().map(line).collect::<Vec<_>>())
}

pub(crate) fn writes_to_2(writes: &mut RawState) -> Result<(), RawError> {
    let Some(lines) = writes.take("lines")? else { return Ok(()) };
    let lines = match lines {
        AppendWrite::Extend(lines) => AppendWrite::Extend(Vec::into_iter(lines).map(line).collect()),
        AppendWrite::Overwrite(lines) => AppendWrite::Overwrite(lines.into_iter().map(line).collect::<Vec<_>>()),
    };
    writes.put("lines", &lines)
}

#[expect(clippy::cast_precision_loss, reason = "cents of an order are few")]
pub(crate) fn to_3(order: &mut RawState) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cents = match order.get("cents")? {
        None => 0,
        Some(Value::Int(cents)) => cents,
        Some(other) => return Err(format!("cents are {other}").into()),
    };
    order.remove("cents");
    order.set("euros", &Value::Float(cents as f64 / 100.0))?;
    order.remove("remark");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "cents of an order are few")]
pub(crate) fn writes_to_3(writes: &mut RawState) -> Result<(), RawError> {
    let euros = |cents: u64| cents as f64 / 100.0;
    match writes.take("cents")? {
        None => {}
        Some(AddWrite::Add(cents)) => writes.put("euros", &AddWrite::Add(euros(cents)))?,
        Some(AddWrite::Overwrite(cents)) => writes.put("euros", &AddWrite::Overwrite(euros(cents)))?,
    }
    writes.remove("remark");
    writes.remove("internal");
    Ok(())
}
