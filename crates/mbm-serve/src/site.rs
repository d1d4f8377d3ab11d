//! Host and origin checks: protection against DNS rebinding and cross-site request forgery.
//!
//! Any website can let its own domain name resolve to this machine, and its pages then send requests as if they were same-origin
//! (DNS rebinding); the name in `Host` gives them away. A page can also post forms to any address (CSRF); `Origin` or
//! `Sec-Fetch-Site`, which browsers set and scripts cannot, give it away. The second check is the one of Go's
//! `net/http.CrossOriginProtection`.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, Uri, Version, header};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::settings::Settings;

/// Host names that the server answers to, and origins whose pages may send requests.
#[derive(Debug, Clone)]
pub(crate) struct SitePolicy {
    /// `None` if any host name is allowed.
    hosts: Option<Hosts>,
    /// Host names from the settings, without `*`.
    named: Vec<String>,
    origins: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// Names of the loopback interface, and those from the settings.
    Loopback,
    /// Only those from the settings.
    FieldRef,
}

/// Unsafe or invalid settings, with which the server does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SiteError {
    #[error(
        "{0} is reachable from other machines: specify host names with --allowed-host ('*' allows any), or set an API key \
         (MBM_API_KEY or --api-key-file)"
    )]
    Open(IpAddr),
    #[error("--allowed-host {0}: expected a host name or IP address such as example.com, without scheme, port or path, or '*'")]
    Host(String),
    #[error("--cors-origin {0}: expected a scheme and a host such as https://example.com, without a path")]
    Origin(String),
}

impl SitePolicy {
    /// # Errors
    /// Returns an error if the address is reachable from other machines without allowed hosts or an API key, or if a name is
    /// invalid.
    pub fn new(settings: &Settings) -> Result<Self, SiteError> {
        let address = settings.address.ip();
        let is_any = settings.allowed_hosts.iter().any(|host| host == "*");
        let named = settings.allowed_hosts.iter().filter(|host| *host != "*");
        let named =
            named.map(|host| host_name(host).ok_or_else(|| SiteError::Host(host.clone()))).collect::<Result<Vec<_>, _>>()?;
        let origins = settings.cors_origins.iter();
        let origins = origins.map(|it| origin(it).ok_or_else(|| SiteError::Origin(it.clone()))).collect::<Result<Vec<_>, _>>()?;
        let hosts = match (is_any, address.to_canonical().is_loopback()) {
            (true, _) => None,
            (false, true) => Some(Hosts::Loopback),
            (false, false) if !named.is_empty() => Some(Hosts::FieldRef),
            (false, false) if settings.api_key.is_some() => None,
            (false, false) => return Err(SiteError::Open(address)),
        };
        Ok(Self { hosts, named, origins })
    }

    /// Origins whose pages may read responses.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Checks whether a request may be answered.
    ///
    /// # Errors
    /// Returns an error if the host is missing, given more than once or not allowed, or if the request comes from a page of
    /// another site.
    pub fn check(&self, request: &Parts) -> Result<(), ApiError> {
        let hosts = requested_hosts(request)?;
        for host in hosts.iter().flatten() {
            self.check_host(host, request.uri.path())?;
        }
        self.check_origin(request, hosts.iter().flatten().next())
    }

    fn check_host(&self, host: &Authority, path: &str) -> Result<(), ApiError> {
        let Some(hosts) = self.hosts else { return Ok(()) };
        let name = name_of(host);
        let is_named = self.named.contains(&name);
        let is_ours = match hosts {
            Hosts::Loopback => is_named || is_loopback(&name),
            // Health probes use the IP address of a pod, which is not known in advance; requests of other sites have a host name.
            Hosts::FieldRef => is_named || (matches!(path, "/health" | "/ready") && name.parse::<IpAddr>().is_ok()),
        };
        if is_ours {
            return Ok(());
        }
        let message = format!("the host '{name}' is not allowed; to allow it, start the server with --allowed-host {name}");
        Err(ApiError::new(ApiErrorKind::Forbidden, message))
    }

    /// Accepts requests that only read, that do not come from a browser, or that come from the server's own pages or allowed
    /// origins.
    fn check_origin(&self, request: &Parts, host: Option<&Authority>) -> Result<(), ApiError> {
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method) {
            return Ok(());
        }
        let text = |name: HeaderName| Some(last(&request.headers, name)?.to_str().unwrap_or("").to_ascii_lowercase());
        let (origin, fetched) = (text(header::ORIGIN), text(HeaderName::from_static("sec-fetch-site")));
        let is_named = origin.as_ref().is_some_and(|origin| self.origins.contains(origin));
        let is_ours = match (&origin, fetched.as_deref()) {
            (None, None) | (_, Some("same-origin" | "none")) => true,
            (_, Some(_)) => false,
            (Some(origin), None) => self.is_own(origin, host),
        };
        if is_named || is_ours {
            return Ok(());
        }
        let from = origin.unwrap_or_else(|| "another site".to_owned());
        let message = format!("requests from {from} are not allowed; to allow them, start the server with --cors-origin {from}");
        Err(ApiError::new(ApiErrorKind::Forbidden, message))
    }

    /// Whether an origin is the requested host or one of the server's names (a proxy may send another `Host`).
    fn is_own(&self, origin: &str, host: Option<&Authority>) -> bool {
        let Some(authority) = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned()) else { return false };
        host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(authority.as_str()))
            || self.named.contains(&name_of(&authority))
    }
}

fn last(headers: &HeaderMap, name: HeaderName) -> Option<&axum::http::HeaderValue> {
    headers.get_all(name).iter().next_back()
}

/// Returns the hosts that a request is for: the one of an absolute request target, and the one of the `Host` header (RFC 9112,
/// 3.2).
fn requested_hosts(request: &Parts) -> Result<[Option<Authority>; 2], ApiError> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version < Version::HTTP_11 => None,
        (None, _) => return Err(ApiError::validation("the 'Host' header is missing")),
        (Some(_), Some(_)) => return Err(ApiError::validation("there is more than one 'Host' header")),
        (Some(host), None) => Some(host.to_str().ok().and_then(authority).ok_or_else(invalid_host)?),
    };
    let target = request.uri.authority().map(|target| authority(target.as_str()).ok_or_else(invalid_host)).transpose()?;
    Ok([target, host])
}

fn invalid_host() -> ApiError {
    ApiError::validation("the 'Host' header is not a valid host name")
}

/// Parses a host with an optional port; user information is not allowed.
fn authority(text: &str) -> Option<Authority> {
    text.parse::<Authority>().ok().filter(|authority| !text.contains('@') && !authority.host().is_empty())
}

/// Returns the host name in lower case; an IPv6 address without brackets.
fn name_of(authority: &Authority) -> String {
    let host = authority.host().trim_start_matches('[').trim_end_matches([']', '.']);
    host.to_ascii_lowercase()
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Normalizes a host name from the settings for comparison; `None` if it is invalid.
fn host_name(text: &str) -> Option<String> {
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = text.trim_end_matches('.');
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .then(|| name.to_ascii_lowercase())
}

/// Normalizes an origin to the form that browsers send; `null` is the one of pages without an origin. `None` if it is invalid.
fn origin(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let is_origin = text.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.path() == "/" && uri.query().is_none());
    (text == "null" || is_origin).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn settings(address: [u8; 4], allowed_hosts: &[&str]) -> Settings {
        let allowed_hosts = allowed_hosts.iter().map(|it| (*it).to_owned()).collect();
        Settings { address: (address, 8000).into(), allowed_hosts, ..Settings::default() }
    }

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn host(sites: &SitePolicy, host: &str) -> bool {
        sites.check(&request("GET", "/info", &[("host", host)])).is_ok()
    }

    const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn loopback_server_answers_only_to_loopback_names() {
        let sites = SitePolicy::new(&settings(LOOPBACK, &[])).unwrap();
        for ours in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "127.0.0.1",
            "127.8.9.1:80",
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(host(&sites, ours), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "xlocalhost",
            "127.1",
        ] {
            assert!(!host(&sites, other), "{other}");
            assert!(sites.check(&request("GET", "/health", &[("host", other)])).is_err(), "{other}");
        }
        let sites = SitePolicy::new(&settings(LOOPBACK, &["model.example"])).unwrap();
        assert!(host(&sites, "Model.Example:443") && host(&sites, "localhost") && !host(&sites, "example"));
        assert!(host(&SitePolicy::new(&settings(LOOPBACK, &["*"])).unwrap(), "evil.example"));
    }

    #[test]
    fn public_address_requires_allowed_hosts_or_a_key() {
        let everywhere = [0, 0, 0, 0];
        let refused = SitePolicy::new(&settings(everywhere, &[])).unwrap_err();
        assert!(refused.to_string().contains("--allowed-host") && refused.to_string().contains("MBM_API_KEY"), "{refused}");
        let with_key = Settings { api_key: Some("secret".to_owned()), ..settings(everywhere, &[]) };
        assert!(host(&SitePolicy::new(&with_key).unwrap(), "any.example"));
        let sites = SitePolicy::new(&settings(everywhere, &["model.example", "192.168.1.5"])).unwrap();
        assert!(host(&sites, "model.example") && host(&sites, "192.168.1.5:8000"));
        assert!(!host(&sites, "localhost") && !host(&sites, "10.1.2.3"));
        // Health probes use the IP address of the pod.
        assert!(sites.check(&request("GET", "/ready", &[("host", "10.1.2.3:8000")])).is_ok());
        assert!(sites.check(&request("GET", "/ready", &[("host", "evil.example")])).is_err());
    }

    #[test]
    fn invalid_host_names_and_origins_are_rejected() {
        for wrong in ["http://model.example", "model.example:80", "model.example/x", "", "*.example"] {
            assert_eq!(SitePolicy::new(&settings(LOOPBACK, &[wrong])).unwrap_err(), SiteError::Host(wrong.to_owned()));
        }
        for wrong in ["*", "model.example", "https://model.example/page", ""] {
            let settings = Settings { cors_origins: vec![wrong.to_owned()], ..settings(LOOPBACK, &[]) };
            assert_eq!(SitePolicy::new(&settings).unwrap_err(), SiteError::Origin(wrong.to_owned()));
        }
    }

    #[test]
    fn request_must_name_exactly_one_host() {
        let sites = SitePolicy::new(&settings(LOOPBACK, &[])).unwrap();
        let kind = |request: &Parts| sites.check(request).map_err(|api_error| api_error.kind);
        assert_eq!(kind(&request("GET", "/", &[])), Err(ApiErrorKind::Validation));
        assert_eq!(kind(&request("GET", "/", &[("host", "localhost"), ("host", "localhost")])), Err(ApiErrorKind::Validation));
        for none in ["", "a b", "me@localhost", "localhost/x", ":80"] {
            assert_eq!(kind(&request("GET", "/", &[("host", none)])), Err(ApiErrorKind::Validation), "{none}");
        }
        let mut old = request("GET", "/", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(kind(&old), Ok(()));
        // The host of an absolute request target is checked in addition to the header.
        assert_eq!(kind(&request("GET", "http://localhost/", &[("host", "localhost")])), Ok(()));
        assert_eq!(kind(&request("GET", "http://evil.example/", &[("host", "localhost")])), Err(ApiErrorKind::Forbidden));
        assert_eq!(kind(&request("GET", "http://localhost/", &[("host", "evil.example")])), Err(ApiErrorKind::Forbidden));
    }

    #[test]
    fn cross_origin_posts_are_rejected() {
        let settings =
            Settings { cors_origins: vec!["https://friend.example/".to_owned()], ..settings(LOOPBACK, &["model.example"]) };
        let sites = SitePolicy::new(&settings).unwrap();
        let is_answered = |method: &str, host: &str, headers: &[(&str, &str)]| {
            sites.check(&request(method, "/predict", &[&[("host", host)], headers].concat())).is_ok()
        };
        let post = |headers: &[(&str, &str)]| is_answered("POST", "localhost:8000", headers);
        assert!(post(&[]), "no browser");
        assert!(post(&[("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")]), "the page");
        assert!(post(&[("origin", "http://localhost:8000")]), "the page over plain HTTP");
        assert!(post(&[("origin", "https://friend.example"), ("sec-fetch-site", "cross-site")]));
        assert!(is_answered("POST", "model.example", &[("origin", "https://model.example")]), "behind a proxy");
        assert!(post(&[("origin", "https://model.example")]), "behind a proxy that sends another host");
        for other in ["https://evil.example", "null", "http://localhost:9000", "http://[", ""] {
            assert!(!post(&[("origin", other)]), "{other}");
            assert!(is_answered("GET", "localhost:8000", &[("origin", other)]), "{other}");
        }
        assert!(!post(&[("sec-fetch-site", "cross-site")]));
        assert!(!post(&[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8000")]));
        assert!(!is_answered("DELETE", "localhost", &[("origin", "https://evil.example")]));
    }
}
