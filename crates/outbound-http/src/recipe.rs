use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy};

use crate::{Proxies, Trust, tls_config};

/// What a client is made of.
#[derive(Debug)]
pub struct ClientRecipe<'a> {
    /// Sent with every request.
    pub user_agent: &'a str,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// By way of whom servers are reached. Nothing else counts, whatever the environment says.
    pub proxies: Proxies,
    /// Who has to vouch for servers.
    pub trust: Trust,
    /// Never HTTP/2.
    pub http1_only: bool,
}

impl ClientRecipe<'_> {
    /// The beginning of a client. It follows no redirects: who follows them decides what may go along to whom.
    ///
    /// # Panics
    ///
    /// If CAs are named and the process has no crypto provider installed.
    pub fn builder(self) -> ClientBuilder {
        let Self { user_agent, connect_timeout, proxies, trust, http1_only } = self;
        let builder = Client::builder()
            .proxy(Proxy::custom(move |url| proxies.proxy_for(url).cloned()))
            .user_agent(user_agent)
            .connect_timeout(connect_timeout)
            .redirect(Policy::none());
        let builder = if http1_only { builder.http1_only() } else { builder };
        let verifier = match trust {
            Trust::System => return builder,
            Trust::Anybody => return builder.tls_danger_accept_invalid_certs(true),
            Trust::Beside(named) => named.beside_the_systems(),
            Trust::Alone(named) => named.alone(),
        };
        let mut tls = tls_config(verifier);
        // reqwest leaves a configuration that is given to it as it is.
        let offered: &[&[u8]] = if http1_only { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        tls.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        builder.tls_backend_preconfigured(tls)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use reqwest::{Error, Response};
    use rustls::server::Acceptor;
    use test_support::install_crypto_provider;
    use test_support::origin::{Fault, File, OriginServer};
    use test_support::payload::Content;
    use test_support::registry::{Certificate, ForwardProxy};

    use super::ClientRecipe;
    use crate::{NamedCas, Proxies, Trust};

    fn recipe(trust: Trust) -> ClientRecipe<'static> {
        install_crypto_provider();
        ClientRecipe {
            user_agent: "test/1",
            connect_timeout: Duration::from_secs(20),
            proxies: Proxies::default(),
            trust,
            http1_only: false,
        }
    }

    async fn get(recipe: ClientRecipe<'_>, url: &str) -> Result<Response, Error> {
        recipe.builder().build().unwrap().get(url).send().await
    }

    fn named(certificate: &Certificate) -> NamedCas {
        install_crypto_provider();
        NamedCas::from_pem(certificate.ca_pem.as_bytes()).unwrap()
    }

    fn file() -> File {
        File::new(Content::from_bytes(b"hello".to_vec()))
    }

    #[tokio::test]
    async fn trust_is_what_the_recipe_says() {
        let (own, other) = (Certificate::self_signed(), Certificate::generate());
        let server = OriginServer::start_tls(&own).await;
        let url = server.publish("/x", file());
        for (trust, is_trusted) in [
            (Trust::System, false),
            (Trust::Beside(named(&other)), false),
            (Trust::Alone(named(&other)), false),
            (Trust::Beside(named(&own)), true),
            (Trust::Alone(named(&own)), true),
            (Trust::Anybody, true),
        ] {
            let shown = format!("{trust:?}");
            assert_eq!(get(recipe(trust), &url).await.is_ok(), is_trusted, "{shown}");
        }
    }

    /// Which protocols a client offers that shakes hands.
    async fn offered(recipe: ClientRecipe<'_>) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut acceptor = Acceptor::default();
            let accepted = loop {
                acceptor.read_tls(&mut stream).unwrap();
                match acceptor.accept() {
                    Ok(Some(accepted)) => break accepted,
                    Ok(None) => {}
                    Err((error, _)) => panic!("{error}"),
                }
            };
            let hello = accepted.client_hello();
            let protocols = hello.alpn().into_iter().flatten();
            protocols.map(|protocol| String::from_utf8(protocol.to_vec()).unwrap()).collect()
        });
        assert!(get(recipe, &url).await.is_err(), "the server hangs up");
        server.await.unwrap()
    }

    #[tokio::test]
    async fn http_2_is_offered_unless_the_recipe_says_never() {
        let ca = Certificate::generate();
        for trust in [Trust::System, Trust::Anybody, Trust::Alone(named(&ca)), Trust::Beside(named(&ca))] {
            assert_eq!(offered(recipe(trust.clone())).await, ["h2", "http/1.1"], "{trust:?}");
            let never = ClientRecipe { http1_only: true, ..recipe(trust.clone()) };
            assert_eq!(offered(never).await, ["http/1.1"], "{trust:?}");
        }
    }

    #[tokio::test]
    async fn nobody_is_followed_and_everybody_told_who_asks() {
        let server = OriginServer::start().await;
        server.inject_once("/x", Fault::Redirect(server.publish("/y", file())));
        let answer = get(recipe(Trust::System), &server.url("/x")).await.unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(server.requests()[0].header("user-agent"), Some("test/1"));
    }

    #[tokio::test]
    async fn proxies_are_those_of_the_recipe_and_learn_their_password() {
        let server = OriginServer::start().await;
        server.publish("/x", file());
        let proxy = ForwardProxy::start(&[("mirror.test", &server.address())]).await;
        let through = |no_proxy| ClientRecipe {
            proxies: Proxies::all(format!("http://user:pass@{}", proxy.address()).parse().unwrap(), no_proxy),
            ..recipe(Trust::System)
        };
        assert_eq!(get(through("other.test"), "http://mirror.test/x").await.unwrap().status(), 200);
        assert_eq!(proxy.requests(), ["GET http://mirror.test/x HTTP/1.1"]);
        // This proxy forwards what it should keep for itself.
        assert_eq!(server.requests()[0].header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
        assert!(get(through("mirror.test:80"), "http://mirror.test/x").await.is_err());
        assert_eq!(proxy.requests().len(), 1);
    }
}
