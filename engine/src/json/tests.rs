use super::{Whole, from_value, limit, limit_or_zero, or_default, read};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize, PartialEq)]
struct Model {
    layers: usize,
    #[serde(default)]
    tied: bool,
    theta: Option<f64>,
    inner: Option<Box<Model>>,
    #[serde(default)]
    list: Vec<Option<u32>>,
    #[serde(default)]
    free: Value,
}

fn layers(json: &str) -> usize {
    read::<Model>(json.as_bytes()).unwrap().layers
}

#[test]
fn null_is_absent_in_structures_and_itself_elsewhere() {
    let json = br#"{"layers": 2, "tied": null, "theta": null, "inner": {"layers": 3, "tied": null}, "list": [null, 4],
                    "free": {"default": null}, "unknown": null}"#;
    let expected = Model {
        layers: 2,
        inner: Some(Box::new(Model { layers: 3, ..Model::default() })),
        list: vec![None, Some(4)],
        free: json!({"default": null}),
        ..Model::default()
    };
    assert_eq!(read::<Model>(json).unwrap(), expected);
    assert_eq!(read::<BTreeMap<String, Option<u8>>>(br#"{"a": null}"#).unwrap()["a"], None);
}

#[test]
fn integers_may_be_floats_but_not_fractions() {
    assert_eq!(layers(r#"{"layers": 4096.0}"#), 4096);
    assert_eq!(layers(r#"{"layers": 1e3}"#), 1000);
    assert_eq!(read::<Model>(br#"{"layers": 1, "list": [2.0]}"#).unwrap().list, [Some(2)]);
    // Where any JSON is welcome, it stays as it is written.
    assert_eq!(read::<Model>(br#"{"layers": 1, "free": 2.0}"#).unwrap().free.to_string(), "2.0");
    assert_eq!(read::<Model>(br#"{"layers": 1, "theta": 10000}"#).unwrap().theta, Some(10_000.0));
    for wrong in ["4096.5", "-1", "-1.0", "1e300", "\"4096\"", "true", "[4096]"] {
        let error = read::<Model>(format!("{{\"layers\": {wrong}}}").as_bytes()).unwrap_err();
        assert_eq!(error.path(), "layers", "{wrong}");
    }
}

#[test]
fn the_last_of_equal_names_counts() {
    assert_eq!(layers(r#"{"layers": 1, "tied": true, "layers": 2}"#), 2);
    assert_eq!(layers(r#"{"layers": "no", "layers": 3}"#), 3);
    // As in Python, where the last one is None.
    assert_eq!(read::<Model>(br#"{"layers": 3, "layers": null}"#).unwrap_err().path(), "layers");
}

#[test]
fn errors_say_where() {
    let of = |json: &str| read::<Model>(json.as_bytes()).unwrap_err();
    assert_eq!(of(r#"{"layers": 1, "inner": {"layers": 1, "list": [1, "x"]}}"#).path(), "inner.list[1]");
    assert_eq!(of(r#"{"layers": 1, "inner": {}}"#).to_string(), "inner.layers: this field is missing");
    assert_eq!(of("[]").to_string(), "invalid type: sequence, expected an object");
    assert_eq!(of("null").to_string(), "invalid type: null, expected struct Model");
    assert_eq!(
        read::<Vec<Vec<u8>>>(b"[[1], [2, {}]]").unwrap_err().to_string(),
        "[1][1]: invalid type: map, expected u8"
    );
    let cut_off = of(r#"{"layers": 1"#);
    assert!(cut_off.is_cut_off() && cut_off.path().is_empty(), "{cut_off}");
    assert!(!of(r#"{"layers": }"#).is_cut_off());
    assert!(of("{} {}").to_string().contains("trailing characters"));
    assert!(!of(&"[".repeat(100_000)).to_string().is_empty(), "no stack overflow");
}

#[test]
fn structures_may_deny_what_they_do_not_know() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a: Option<u8>,
    }
    assert_eq!(read::<Strict>(br#"{"a": 1, "b": null}"#).unwrap().a, Some(1));
    assert!(read::<Strict>(br#"{"b": 1}"#).unwrap_err().to_string().contains("`b`"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(layers("\u{feff}{\"layers\": 5}"), 5);
}

#[test]
fn limits_may_be_minus_one() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Limits {
        #[serde(default, deserialize_with = "limit")]
        most: Option<usize>,
        #[serde(default, deserialize_with = "limit_or_zero")]
        top: Option<u32>,
    }
    let of = |most, top| from_value::<Limits>(&json!({"most": most, "top": top}));
    assert_eq!(of(json!(null), json!(null)).unwrap(), Limits { most: None, top: None });
    assert_eq!(of(json!(-1), json!(-1.0)).unwrap(), Limits { most: None, top: Some(0) });
    assert_eq!(of(json!(7.0), json!(0)).unwrap(), Limits { most: Some(7), top: Some(0) });
    assert_eq!(of(json!(-2), json!(1)).unwrap_err().to_string(), "most: -2 is out of range");
    assert_eq!(of(json!(1), json!(1_i64 << 32)).unwrap_err().path(), "top");
}

#[test]
fn other_readers_use_the_parts() {
    assert_eq!(serde_json::from_str::<Vec<Whole>>("[-2.0, 3]").unwrap(), [Whole(-2), Whole(3)]);
    assert!(serde_json::from_str::<Whole>("0.5").is_err());
    #[derive(Deserialize)]
    struct Plain {
        #[serde(default, deserialize_with = "or_default")]
        list: Vec<u8>,
    }
    assert!(serde_json::from_str::<Plain>(r#"{"list": null}"#).unwrap().list.is_empty());
}

#[test]
fn pythons_constants_are_ignored_with_their_fields() {
    let json = r#"{"limit": [0.0, Infinity], "low": -Infinity, "layers": 2, "free": "NaN \\\" -Infinity", "x": NaN}"#;
    let model = read::<Model>(json.as_bytes()).unwrap();
    assert_eq!((model.layers, model.free), (2, json!("NaN \\\" -Infinity")));
    let error = read::<Model>(br#"{"layers": 1, "theta": NaN}"#).unwrap_err().to_string();
    assert!(error.contains("theta") && error.contains("NaN"), "{error}");
    for wrong in ["[NaNa]", "{\"layers\": infinity}", "[Infinity"] {
        assert!(read::<Value>(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
