//! Options of the server's network, and who may use it.

use super::{at_least_one, count, defaults, seconds};
use crate::error::{Error, Result};
use crate::system;
use edgellm_server::{ApiKeys, SPARE_CONNECTIONS};
use std::path::PathBuf;

/// The variable that holds API keys.
const KEYS: &str = "EDGELLM_API_KEYS";
/// Open files besides the ordinary connections: spare connections, models, the log.
const OTHER_FILES: usize = SPARE_CONNECTIONS + 64;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network and access")]
pub(super) struct NetworkArgs {
    /// Address to listen on; 0.0.0.0 admits other machines
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(super) host: String,
    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub(super) port: u16,
    /// Require one of the API keys in this file, one per line. EDGELLM_API_KEYS can hold keys, too. A list without keys
    /// is an error
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Requests per minute for each API key, or for each address if there are no keys; a request counts once for each
    /// choice of each prompt, or for each input [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub(super) rate_limit: Option<u32>,
    /// Take the client's address from X-Forwarded-For, which your reverse proxy must set
    #[arg(long)]
    pub(super) trust_proxy: bool,
    /// Without API keys, also answer requests that address the server by this name, such as board.local, and not only by
    /// localhost, an IP address or --host; may be repeated, and * allows all. No port, no other wildcards
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Allow web pages of this origin to use the server, such as https://chat.example.org; may be repeated, and *
    /// allows all
    #[arg(long, value_name = "ORIGIN")]
    pub(super) cors_origin: Vec<String>,
    /// Allow clients to download the model files, as the page at / does to run them in the browser
    #[arg(long)]
    pub(super) allow_download: bool,
    /// Open connections, of which one address may have three quarters. Idle ones make room; if none is idle, further
    /// ones get 503 [default: 1024, or fewer if the limit of open files is low]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    max_connections: Option<u32>,
    /// Size limit of request bodies, in MiB
    #[arg(long, value_name = "MIB", default_value_t = count(defaults().max_body >> 20), value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) max_body: u32,
    /// Time limit for clients to send the next request, and its body; and for bytes of an answer to wait, to which each
    /// KiB that a client takes adds a second
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(defaults().client_timeout), value_parser = at_least_one())]
    pub(super) client_timeout: u32,
    /// Time limit for running requests to finish when the server shuts down
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(defaults().drain_timeout))]
    pub(super) drain_timeout: u32,
}

impl NetworkArgs {
    /// The API keys in the file and in the environment.
    pub(super) fn keys(&self) -> Result<ApiKeys> {
        let mut lists = Vec::new();
        if let Some(keys) = std::env::var_os(KEYS) {
            let keys = keys.into_string().map_err(|_| Error::Usage(format!("{KEYS} is not UTF-8")))?;
            lists.push((KEYS.to_string(), keys.replace(',', "\n").replace(char::is_whitespace, "\n")));
        }
        if let Some(path) = &self.api_key_file {
            let keys = edgellm_files::read_to_string(path)?;
            lists.push((path.display().to_string(), keys));
        }
        api_keys(&lists)
    }

    /// The names by which requests may address the server.
    pub(super) fn allowed_hosts(&self) -> Vec<String> {
        // What has a colon is an address, which is no name.
        let own = Some(&self.host).filter(|host| !host.contains(':'));
        self.allowed_host.iter().chain(own).cloned().collect()
    }

    /// As many connections as asked for, or as the limit of open files allows.
    pub(super) fn connections(&self) -> Result<usize> {
        let wanted = self.max_connections.map_or(defaults().max_connections, |wanted| wanted as usize);
        let files = system::allow_open_files(wanted + OTHER_FILES).unwrap_or(usize::MAX);
        let most = files.saturating_sub(OTHER_FILES).max(1);
        if wanted > most && self.max_connections.is_some() {
            return Err(Error::Usage(format!(
                "--max-connections {wanted} needs {} open files, but this process may have {files}: raise the limit \
                 (ulimit -n, or LimitNOFILE in a systemd unit), or choose at most {most}",
                wanted + OTHER_FILES
            )));
        }
        Ok(wanted.min(most))
    }
}

/// The API keys of all lists, each with its origin. A list without keys is an error: it would admit everybody.
fn api_keys(lists: &[(String, String)]) -> Result<ApiKeys> {
    let mut all = String::new();
    for (origin, keys) in lists {
        let parsed = ApiKeys::parse(keys);
        if parsed.is_empty() {
            return Err(Error::Usage(format!(
                "{origin} has no API key: add one, or leave it out to serve everybody"
            )));
        }
        if let Some(line) = parsed.unusable() {
            return Err(Error::Usage(format!(
                "the API key in line {line} of {origin} has characters that no HTTP header can hold: \
                 use letters, digits and punctuation"
            )));
        }
        all.push_str(keys.trim_start_matches('\u{feff}'));
        all.push('\n');
    }
    Ok(ApiKeys::parse(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_keys_are_errors() {
        let keys = |lists: &[&str]| {
            let lists: Vec<_> = lists.iter().map(|keys| ("the list".to_string(), keys.to_string())).collect();
            api_keys(&lists).map(|keys| keys.is_empty()).map_err(|error| error.to_string())
        };
        assert_eq!(keys(&[]), Ok(true));
        assert_eq!(keys(&["a", "b\nb"]), Ok(false));
        for empty in ["", "\n \n", "# none\n", "\u{feff}", "\t"] {
            assert!(keys(&["a", empty]).unwrap_err().contains("no API key"), "{empty:?}");
        }
        assert!(keys(&["a\nschlüssel"]).unwrap_err().contains("line 2"));
        assert!(keys(&["a\nb\u{7}"]).unwrap_err().contains("line 2"));
    }
}
