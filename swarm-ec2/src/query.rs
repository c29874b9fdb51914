//! Calls of the EC2 Query API: signed, sent, and made again where that is safe. Every call of this crate can be made again: what creates something
//! has a token or a name that EC2 knows again.

use crate::answers::{Errors, read};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};
use swarm_core::secret::clean;

/// The version of the API that the calls are written for.
const VERSION: &str = "2016-11-15";
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is read of an answer.
const MOST: usize = 64 << 20;
/// How long to wait before the next try, the last of them again and again until they are used up.
const WAITS: [u64; 8] = [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];
/// What EC2 answers where the same call is welcome later.
const LATER: &[&str] = &[
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
];

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// EC2's code, such as `InsufficientInstanceCapacity`; empty where there was no answer.
    pub code: String,
    /// What is so, for people.
    pub message: String,
}

impl Refused {
    fn silent(action: &str, why: &str) -> Self {
        Self { code: String::new(), message: format!("{action}: {why}") }
    }

    /// Whether the code is one of these.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }
}

/// A call: its action and its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    action: &'static str,
    parameters: Vec<(String, String)>,
}

impl Call {
    pub(crate) fn new(action: &'static str) -> Self {
        Self { action, parameters: Vec::new() }
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// A filter: what is listed has one of these values.
    pub(crate) fn filter(self, name: &str, values: &[&str]) -> Self {
        let number = self.parameters.iter().filter(|(key, _)| key.starts_with("Filter.") && key.ends_with(".Name")).count() + 1;
        let named = self.with(format!("Filter.{number}.Name"), name);
        values.iter().enumerate().fold(named, |call, (at, value)| call.with(format!("Filter.{number}.Value.{}", at + 1), *value))
    }

    /// Tags of what is created, by its type.
    pub(crate) fn tags(self, types: &[&str], tags: &[(&str, &str)]) -> Self {
        types.iter().enumerate().fold(self, |call, (at, kind)| {
            let of = format!("TagSpecification.{}", at + 1);
            tags.iter().enumerate().fold(call.with(format!("{of}.ResourceType"), *kind), |call, (at, (key, value))| {
                call.with(format!("{of}.Tag.{}.Key", at + 1), *key).with(format!("{of}.Tag.{}.Value", at + 1), *value)
            })
        })
    }

    fn body(&self) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("Action", self.action).append_pair("Version", VERSION);
        body.extend_pairs(&self.parameters).finish()
    }
}

/// A region's EC2, and who asks.
pub(crate) struct Region {
    name: String,
    endpoint: String,
    credentials: SharedCredentialsProvider,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Region {
    /// Finds the credentials as the AWS CLI does: environment, profile, web identity, container, instance.
    pub(crate) async fn open(name: &str) -> Result<Self, String> {
        let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(ring).map_err(|e| e.to_string())?;
        let http = Client::builder(TokioExecutor::new()).build(connector.https_or_http().enable_http1().build());
        let tls = aws_smithy_http_client::tls::Provider::Rustls(aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring);
        let client = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let region = aws_config::Region::new(name.to_owned());
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(client).region(region).load().await;
        let key = ServiceConfigKey::builder().service_id("EC2").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
        let of_service = key.ok().and_then(|key| config.service_config().and_then(|of| of.load_config(key)));
        let given = of_service.or_else(|| config.endpoint_url().map(str::to_owned));
        let of_region = || {
            let top = if name.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("https://ec2.{name}.{top}")
        };
        let endpoint = given.map_or_else(of_region, |given| given.trim_end_matches('/').to_owned());
        let credentials = config.credentials_provider().ok_or("no source of AWS credentials is known")?;
        Ok(Self { name: name.to_owned(), endpoint, credentials, http })
    }

    /// Makes a call, again where EC2 or the way there fails for a moment.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Refused> {
        let mut waits = WAITS.iter();
        loop {
            let failed = match tokio::time::timeout(PATIENCE, self.once(call)).await {
                Ok(Ok(answer)) => {
                    return read(&answer).map_err(|e| Refused::silent(call.action, &format!("the answer cannot be read: {e}")));
                }
                Ok(Err((refused, later))) if !later => return Err(refused),
                Ok(Err((refused, _))) => refused,
                Err(_) => Refused::silent(call.action, &format!("{} did not answer within {} s", self.endpoint, PATIENCE.as_secs())),
            };
            match waits.next() {
                Some(wait) => tokio::time::sleep(Duration::from_millis(*wait)).await,
                None => return Err(failed),
            }
        }
    }

    /// One try: the answer, or why there is none and whether the call may be made again.
    async fn once(&self, call: &Call) -> Result<String, (Refused, bool)> {
        let final_error = |why: String| (Refused::silent(call.action, &why), false);
        let body = call.body();
        let request = self.signed(&body).await.map_err(final_error)?;
        let passing = |why: String| (Refused::silent(call.action, &format!("{}: {why}", self.endpoint)), true);
        let response = self.http.request(request).await.map_err(|e| passing(root(&e)))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), MOST).collect().await.map_err(|e| passing(e.to_string()))?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.is_success() {
            return Ok(text);
        }
        let (code, message) = match read::<Errors>(&text) {
            Ok(errors) => errors.errors.error.into_iter().next().map(|e| (e.code, e.message)).unwrap_or_default(),
            Err(_) => (String::new(), String::new()),
        };
        let later = status.is_server_error() || LATER.contains(&code.as_str());
        let why = if code.is_empty() { format!("HTTP status {status}") } else { format!("{code}: {}", clean(&message, 400)) };
        Err((Refused { code, message: format!("EC2 refuses {}: {why}", call.action) }, later))
    }

    async fn signed(&self, body: &str) -> Result<hyper::Request<Full<Bytes>>, String> {
        let credentials = self.credentials.provide_credentials().await.map_err(|e| {
            let why = root(&e);
            format!("no AWS credentials were found ({why}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        })?;
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.name)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| e.to_string())?;
        let uri = format!("{}/", self.endpoint);
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let signable = SignableRequest::new("POST", &uri, std::iter::once(("content-type", kind)), SignableBody::Bytes(body.as_bytes()));
        let (instructions, _) = sign(signable.map_err(|e| e.to_string())?, &parameters.into()).map_err(|e| e.to_string())?.into_parts();
        let mut request = hyper::Request::post(&uri)
            .header("content-type", kind)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|e| format!("{uri} is no address: {e}"))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// The innermost cause: the outer ones say only that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_form() {
        let call = Call::new("DescribeInstances").filter("tag:swarm.cluster", &["prod"]).filter("state", &["a", "b"]);
        let call = call.tags(&["volume"], &[("Name", "x y")]);
        assert_eq!(
            call.body(),
            "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3Aswarm.cluster&Filter.1.Value.1=prod&Filter.2.Name=state\
             &Filter.2.Value.1=a&Filter.2.Value.2=b&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=Name\
             &TagSpecification.1.Tag.1.Value=x+y"
        );
    }
}
