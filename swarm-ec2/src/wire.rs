//! What carries a call to EC2: HTTPS, signed by AWS's own library; or something of a caller's own, such as a simulated account.

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::time::{Duration, SystemTime};

/// How long one try may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is read of an answer.
const MOST: usize = 64 << 20;

/// What came back for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: XML.
    pub text: String,
}

/// Why nothing came back. The call may have been carried out all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// What is so, for people.
    pub why: String,
    /// Whether the same call may succeed in a moment.
    pub later: bool,
}

/// Carries calls to EC2, and their answers back.
#[async_trait]
pub trait Wire: Send + Sync {
    /// What EC2 is called in messages: its endpoint.
    fn name(&self) -> &str;

    /// Sends one call, once. `form` is its body: `Action=…&Version=…` and the parameters.
    ///
    /// # Errors
    /// There is no answer. A refusal of EC2 is an answer.
    async fn send(&self, form: &str) -> Result<Answer, Unsent>;
}

/// A region's endpoint, and who asks.
pub(crate) struct Https {
    region: String,
    endpoint: String,
    credentials: SharedCredentialsProvider,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Https {
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
        Ok(Self { region: name.to_owned(), endpoint, credentials, http })
    }

    async fn signed(&self, body: &str) -> Result<hyper::Request<Full<Bytes>>, String> {
        let credentials = self.credentials.provide_credentials().await.map_err(|e| {
            let why = root(&e);
            format!("no AWS credentials were found ({why}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        })?;
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
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

#[async_trait]
impl Wire for Https {
    fn name(&self) -> &str {
        &self.endpoint
    }

    async fn send(&self, form: &str) -> Result<Answer, Unsent> {
        let request = self.signed(form).await.map_err(|why| Unsent { why, later: false })?;
        let passing = |why: String| Unsent { why: format!("{}: {why}", self.endpoint), later: true };
        let response = self.http.request(request).await.map_err(|e| passing(root(&e)))?;
        let status = response.status().as_u16();
        let bytes = Limited::new(response.into_body(), MOST).collect().await.map_err(|e| passing(e.to_string()))?.to_bytes();
        Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
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
