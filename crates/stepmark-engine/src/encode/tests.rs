//! Does what is written read back, and is the rest refused?

use std::{collections::BTreeMap, fmt::Debug};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    New(Wrapped),
    Tuple(i8, char),
    Struct { a: Option<Box<Kind>>, b: () },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged {
    Text { body: String },
    Empty,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Text(String),
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = to_bytes(&value).expect("an encoding");
    assert_eq!(from_bytes::<T>(&bytes), Ok(value));
    for end in 0..bytes.len() {
        from_bytes::<T>(&bytes[..end]).expect_err("a part is not the whole");
    }
    for follower in [0, 0x91, 0xc1, 0xd9] {
        from_bytes::<T>(&[&bytes[..], &[follower]].concat()).expect_err("nothing may follow");
    }
}

#[test]
fn every_kind_of_value_reads_back() {
    check((true, u64::MAX, i64::MIN, f32::MIN, 0.1f64, '\u{1F980}'));
    check((u128::MAX, i128::MIN, "text".to_owned(), vec![0u8, 255]));
    check((Some(3u8), None::<String>, (), Marker, Wrapped(u64::MAX)));
    check([Kind::Unit, Kind::New(Wrapped(1)), Kind::Tuple(-1, 'x')]);
    check(Kind::Struct { a: Some(Box::new(Kind::Unit)), b: () });
    check([Tagged::Text { body: String::new() }, Tagged::Empty]);
    check([Either::Number(-0.5), Either::Text("t".to_owned())]);
    check(BTreeMap::from([((1u8, "a".to_owned()), vec![Marker]), ((2, String::new()), vec![])]));
    check("long ".repeat(20_000));
}

#[test]
fn fields_are_named_in_the_bytes() {
    #[derive(Serialize)]
    struct Doc {
        page: u8,
    }
    assert_eq!(to_bytes(&Doc { page: 7 }), Ok(b"\x81\xa4page\x07".to_vec()));
}

#[test]
fn what_is_written_is_never_nested_too_deep_to_read() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Chain {
        End,
        Next(Box<Chain>),
        Listed(Vec<Chain>),
    }
    let chain = |levels: usize| (0..levels).fold(Chain::End, |chain, _| Chain::Next(Box::new(chain)));
    let tree = |levels: usize| (0..levels).fold(Chain::End, |chain, _| Chain::Listed(vec![chain]));
    check(chain(200));
    check(tree(100));
    for deep in [chain(256), chain(2_000), tree(200)] {
        let error = to_bytes(&deep).expect_err("too deep");
        assert_eq!(error.to_string(), "cannot encode the value: nested deeper than 256 levels");
    }
}
