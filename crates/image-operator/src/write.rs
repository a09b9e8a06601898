//! Writing a [`Plan`], in an order that is safe at every stop: the pull secret before the list that needs it, the status
//! last, so that it never promises what was not written.
//!
//! Everything is server-side apply under one field manager. What is ours alone is forced; a field of an object that others
//! own is not: a conflict is said in the status, and their value stays.

mod apply;
mod events;
mod workload;

use std::collections::BTreeMap;

use feed_format::{FEED_NAME, PULL_SECRET};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use serde_json::json;

use crate::crd::{CoreosImageService, CoreosImageServiceStatus, NAME};
use crate::inputs::Own;
use crate::kinds;
use crate::metrics::Metrics;
use crate::plan::{FeedPlan, OsImagesPlan, Plan, Problem};
use crate::status;
use crate::watched::problem;
use apply::Applied;
use events::Reported;

/// The name under which the API server knows what is ours.
pub const FIELD_MANAGER: &str = "coreos-image-service-operator";

/// Something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {object}: {message}")]
pub(crate) struct WriteError {
    object: &'static str,
    message: String,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Whether the feed is as the plan has it.
    pub(crate) feed: bool,
    /// What has to be tried again.
    pub(crate) failures: Vec<WriteError>,
}

/// Writes plans, and remembers what it wrote.
pub(crate) struct Writer {
    client: Client,
    namespace: String,
    recorder: Recorder,
    metrics: Metrics,
    config: Applied,
    secret: Applied,
    reported: Option<Reported>,
    /// The feed that was refused, as an event told it.
    warned_of: Option<Problem>,
    status: Option<CoreosImageServiceStatus>,
}

impl Writer {
    pub(crate) fn new(client: Client, namespace: &str, identity: &str, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            namespace: namespace.to_owned(),
            metrics,
            config: Applied::default(),
            secret: Applied::default(),
            reported: None,
            warned_of: None,
            status: None,
        }
    }

    /// Writes what differs from what is there. What fails beside the feed is a problem, and stops nothing else.
    pub(crate) async fn write(&mut self, own: &Own, mut plan: Plan) -> Written {
        let mut written = Written::default();
        let regarding = events::regarding(&self.namespace, &plan.owner);
        match &plan.refused {
            Some(refused) if self.warned_of.as_ref() == Some(refused) => {}
            Some(refused) => {
                events::warn(refused, &self.recorder, &regarding).await;
                self.warned_of = Some(refused.clone());
            }
            None if plan.feed.is_some() => self.warned_of = None,
            None => {}
        }
        let mut feed_failure = None;
        if let Some(feed) = &plan.feed {
            match self.write_feed(&plan, feed).await {
                Ok(()) => written.feed = true,
                Err(error) => feed_failure = Some(error),
            }
        }
        if feed_failure.is_none() {
            self.write_others(&mut plan, &mut written.failures).await;
            if let Some(outcomes) = &plan.outcomes {
                let reported =
                    self.reported.get_or_insert_with(|| Reported::from_status(own.status.as_ref()));
                reported.publish(outcomes, &plan.listed, &self.recorder, &regarding).await;
            }
        }
        let status = self.write_status(own, &plan, feed_failure.as_ref()).await;
        written.failures.extend(feed_failure);
        written.failures.extend(status.err());
        written
    }

    async fn write_feed(&mut self, plan: &Plan, feed: &FeedPlan) -> Result<(), WriteError> {
        self.write_secret(plan, feed).await.map_err(failed("the Secret of the feed"))?;
        self.write_config(plan, feed).await.map_err(failed("the ConfigMap of the feed"))
    }

    async fn write_others(&self, plan: &mut Plan, failures: &mut Vec<WriteError>) {
        let os_images = match &plan.os_images {
            Some(os_images) => {
                self.write_os_images(os_images).await.map_err(failed("osImages of the AgentServiceConfig"))
            }
            None => Ok(None),
        };
        let deployment = match (&plan.deployment, &plan.feed) {
            (Some(deployment), Some(feed)) => {
                workload::write(&self.client, &self.namespace, deployment, feed, &self.metrics)
                    .await
                    .map_err(failed("the deployment"))
            }
            _ => Ok(None),
        };
        for result in [os_images, deployment] {
            match result {
                Ok(problem) => plan.problems.extend(problem),
                Err(error) => {
                    plan.problems.push(Problem::new("WriteFailed", error.to_string()));
                    failures.push(error);
                }
            }
        }
    }

    async fn write_secret(&mut self, plan: &Plan, feed: &FeedPlan) -> kube::Result<()> {
        let Some(pull_secret) = &feed.pull_secret else { return Ok(()) };
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let current = api.get_opt(FEED_NAME).await?;
        let text = pull_secret.expose();
        let owner = plan.owner.reference();
        if let Some(current) = &current {
            let same = |data: &BTreeMap<String, ByteString>| {
                data.len() == 1 && data.get(PULL_SECRET).is_some_and(|now| now.0 == text.as_bytes())
            };
            let is_current = current.data.as_ref().is_some_and(same);
            if self.secret.needs_nothing(&text, &owner, &current.metadata, is_current) {
                return Ok(());
            }
        }
        let written = api
            .patch(
                FEED_NAME,
                &forced(),
                &Patch::Apply(json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "kubernetes.io/dockerconfigjson",
                    "metadata": apply::metadata(FEED_NAME, &owner),
                    // Not `stringData`: server-side apply cannot tell later whose that was.
                    "data": { PULL_SECRET: ByteString(text.as_bytes().to_vec()) },
                })),
            )
            .await?;
        self.secret.remember(&text, &owner, &written.metadata);
        self.metrics.wrote("secret");
        tracing::info!(feed.object = "Secret", "the feed was written");
        Ok(())
    }

    async fn write_config(&mut self, plan: &Plan, feed: &FeedPlan) -> kube::Result<()> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let current = api.get_opt(FEED_NAME).await?;
        let owner = plan.owner.reference();
        if let Some(current) = &current {
            let same = |data: &BTreeMap<String, String>| {
                data.len() == feed.config.len()
                    && feed.config.iter().all(|(key, value)| data.get(*key) == Some(value))
            };
            let is_current = current.data.as_ref().is_some_and(same);
            if self.config.needs_nothing(&feed.config, &owner, &current.metadata, is_current) {
                return Ok(());
            }
        }
        let written = api
            .patch(
                FEED_NAME,
                &forced(),
                &Patch::Apply(json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": apply::metadata(FEED_NAME, &owner),
                    "data": feed.config,
                })),
            )
            .await?;
        self.config.remember(&feed.config, &owner, &written.metadata);
        self.metrics.wrote("config_map");
        tracing::info!(feed.object = "ConfigMap", "the feed was written");
        Ok(())
    }

    /// Not forced: where another program or an admin sets the list, theirs stays.
    async fn write_os_images(&self, plan: &OsImagesPlan) -> kube::Result<Option<Problem>> {
        if plan.current == plan.wanted {
            return Ok(None);
        }
        let resource = kinds::agent_service_config();
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
        let patch = Patch::Apply(json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": { "name": kinds::AGENT, "uid": plan.uid },
            "spec": { "osImages": plan.wanted },
        }));
        match api.patch(kinds::AGENT, &PatchParams::apply(FIELD_MANAGER), &patch).await {
            Ok(_) => {
                self.metrics.wrote("agent_service_config");
                tracing::info!("osImages of the AgentServiceConfig was written");
                Ok(None)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Some(Problem::new(
                "OsImagesConflict",
                format!(
                    "osImages of the AgentServiceConfig is somebody else's and stays as it is: {}",
                    status.message
                ),
            ))),
            Err(error) => Err(error),
        }
    }

    async fn write_status(
        &mut self,
        own: &Own,
        plan: &Plan,
        failure: Option<&WriteError>,
    ) -> Result<(), WriteError> {
        let previous = self.status.as_ref().or(own.status.as_ref());
        let status = status::of(plan, failure.map(ToString::to_string), previous);
        // Also where others have changed or cleared it.
        if previous == Some(&status) && own.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<CoreosImageService>::namespaced(self.client.clone(), &self.namespace);
        let patch = Patch::Apply(json!({
            "apiVersion": "coreos-image-service.io/v1alpha1",
            "kind": "CoreosImageService",
            "metadata": { "name": NAME, "uid": plan.owner.uid },
            "status": status,
        }));
        api.patch_status(NAME, &forced(), &patch).await.map_err(failed("the status"))?;
        self.metrics.wrote("status");
        self.status = Some(status);
        Ok(())
    }
}

/// For objects and fields that are ours alone.
fn forced() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn failed(object: &'static str) -> impl Fn(kube::Error) -> WriteError {
    move |error| WriteError { object, message: problem(&error) }
}

#[cfg(test)]
mod tests;
