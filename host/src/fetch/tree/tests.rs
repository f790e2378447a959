use super::*;
use edgellm::json;

fn selected(paths: &[&str], choice: &str) -> Result<Vec<String>, MissingFile> {
    let entry = |(index, path): (usize, &&str)| TreeEntry {
        kind: "file".into(),
        path: (*path).into(),
        size: index as u64,
        oid: String::new(),
        lfs: None,
    };
    let choice = if choice.is_empty() { Choice::Any } else { choice.to_string().try_into().unwrap() };
    let tree = paths.iter().enumerate().map(entry).collect();
    select(tree, &choice).map(|wanted| wanted.into_iter().map(|entry| entry.path).collect())
}

#[test]
fn only_what_conversion_reads_is_selected() {
    let common = [
        "README.md",
        "config.json",
        "tokenizer.json",
        "onnx/model.safetensors",
        "../model-x.safetensors",
        "model-/../../x.safetensors",
        "model-\\x.safetensors",
        "model-\n\u{1b}[31m.safetensors",
        "model-%2e%2e.safetensors",
    ];
    let selected = |paths: &[&str]| selected(paths, "safetensors");
    let whole =
        [&common[..], &["model.safetensors", "model-00001.safetensors", "pytorch_model.bin"]].concat();
    assert_eq!(selected(&whole).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
    let shards = [&common[..], &["model-1.safetensors", "model-2.safetensors", INDEX]].concat();
    assert_eq!(selected(&shards).unwrap().len(), 5);
    assert!(matches!(selected(&common), Err(MissingFile::Weights)));
    let older = ["config.json", "added_tokens.json", "tokenizer.model", "model.safetensors"];
    assert_eq!(selected(&older).unwrap(), older);
    let both = ["config.json", "tokenizer.model", "tokenizer.json", "model.safetensors"];
    assert_eq!(selected(&both).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
    let no_tokenizer = selected(&["config.json", "model.safetensors"]);
    assert!(matches!(no_tokenizer, Err(MissingFile::Needed("tokenizer.json"))));
}

/// Listings as publishers make them, what is asked for, and what is taken.
#[test]
fn the_gguf_file_is_chosen_as_llama_cpp_does() {
    let bartowski =
        ["README.md", "m-F16.gguf", "m-IQ4_NL.gguf", "m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"];
    let unsloth = [
        "BF16/m-BF16-00001-of-00002.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
        "config.json",
        "m-IQ4_XS.gguf",
        "m-Q4_K_M.gguf",
        "m-UD-Q4_K_XL.gguf",
        "mmproj-F16.gguf",
    ];
    let qwen = ["m-fp16-00001-of-00002.gguf", "m-fp16-00002-of-00002.gguf", "m-q4_k_m.gguf", "m-q8_0.gguf"];
    let vision =
        ["mmproj-Q8_0.gguf", "m.mmproj-Q4_K_M.gguf", "imatrix.gguf", "mtp-Q8_0.gguf", "m.Q5_K_M.gguf"];
    let both = ["config.json", "model.safetensors", "tokenizer.json", "m-Q6_K.gguf"];
    let cases: [(&[&str], &str, &[&str]); 21] = [
        (&bartowski, "", &["m-Q4_K_M.gguf"]),
        (&bartowski, "q8_0", &["m-Q8_0.gguf"]),
        (&bartowski, "IQ4_NL", &["m-IQ4_NL.gguf"]),
        (&bartowski, "m-Q4_0.gguf", &["m-Q4_0.gguf"]),
        (&unsloth, "", &["m-Q4_K_M.gguf"]),
        (&unsloth, "bf16", &["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"]),
        (
            &unsloth,
            "BF16/m-BF16-00002-of-00002.gguf",
            &["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"],
        ),
        (&unsloth, "UD-Q4_K_XL", &["m-UD-Q4_K_XL.gguf"]),
        (&unsloth, "Q4_K_XL", &["m-UD-Q4_K_XL.gguf"]),
        (&qwen, "", &["m-q4_k_m.gguf"]),
        (&qwen, "FP16", &["m-fp16-00001-of-00002.gguf", "m-fp16-00002-of-00002.gguf"]),
        (&["m-Q8_0.gguf", "m-BF16.gguf"], "", &["m-Q8_0.gguf"]),
        (&["m-BF16.gguf", "m-F16.gguf"], "F16", &["m-F16.gguf"]),
        (&["m-Q5_K_M.gguf", "m-Q6_K.gguf"], "", &["m-Q5_K_M.gguf"]),
        (&["model_q4_0.gguf"], "Q4_0", &["model_q4_0.gguf"]),
        (&["M-Q8_0.GGUF"], "q8_0", &["M-Q8_0.GGUF"]),
        (&["ggml-model-i2_s.gguf"], "", &["ggml-model-i2_s.gguf"]),
        (&vision, "", &["m.Q5_K_M.gguf"]),
        (&both, "", &["m-Q6_K.gguf"]),
        (&both, "safetensors", &["config.json", "model.safetensors", "tokenizer.json"]),
        (&both[..3], "", &["config.json", "model.safetensors", "tokenizer.json"]),
    ];
    for (paths, choice, expected) in cases {
        assert_eq!(selected(paths, choice).unwrap(), expected, "{choice:?} of {paths:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let refused = |paths: &[&str], choice: &str| selected(paths, choice).unwrap_err().to_string();
    let some =
        ["a-Q4_K_M.gguf", "a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf", "mmproj-F16.gguf"];
    assert!(refused(&some, "Q5_K_M").ends_with("no GGUF file for Q5_K_M; it has Q4_K_M, Q8_0"));
    assert!(refused(&some, "F16").ends_with("it has Q4_K_M, Q8_0"), "an encoder of images is no model");
    assert!(refused(&some, "x.gguf").contains("x.gguf; it has a-Q4_K_M.gguf, a-Q8_0-00001-of-00002.gguf"));
    assert!(refused(&some, "mmproj-F16.gguf").contains("no GGUF file mmproj-F16.gguf"));
    assert!(refused(&some[..2], "Q8_0").contains("lacks a-Q8_0-00002-of-00002.gguf"));
    assert!(refused(&["README.md", "weights.bin"], "").ends_with("its files are README.md, weights.bin"));
    assert!(refused(&[], "").ends_with("its files are none"));
    assert!(refused(&["config.json", "model.safetensors"], "Q4_0").ends_with("it has none"));
    assert!(
        refused(&["../m-Q4_0.gguf", "/m-Q4_0.gguf", "a/../m-Q4_0.gguf", "m-%2e-Q4_0.gguf"], "Q4_0")
            .ends_with("none")
    );
    let many: Vec<String> = (0..30).map(|index| format!("{index}.bin")).collect();
    assert!(
        refused(&many.iter().map(String::as_str).collect::<Vec<_>>(), "").ends_with("19.bin and 10 more")
    );
}

#[test]
fn both_spellings_of_the_checksum_are_read() {
    for text in [
        r#"{"type":"file","path":"a","size":1,"oid":"x","lfs":{"oid":"AB","size":7,"pointerSize":1}}"#,
        r#"{"type":"file","path":"a","size":1,"oid":"x","lfs":{"sha256":"sha256:ab","size":7}}"#,
        r#"{"type":"file","path":"a","size":null,"oid":null,"lfs":{"sha256":"ab","oid":"sha256:ab","size":7.0}}"#,
    ] {
        let entry: TreeEntry = json::read(text.as_bytes()).unwrap();
        assert_eq!((entry.length(), entry.checksum()), (7, Checksum::Sha256("ab".into())));
    }
}
