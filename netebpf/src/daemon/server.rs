//! The control socket: requests in, answers out.
//!
//! **Invariant**: every request runs as a task of its own to its end: a caller who goes away half-way
//! leaves a whole change behind. Changes take [`Turn`]s, and so does what is read from the kernel
//! (status, flows); lists of endpoints and networks never wait for one.

use super::{
    Daemon, Error,
    api::{
        Changes, ConnectRequest, CreateNetworkRequest, CreateRequest, DisconnectRequest,
        DownRequest, ENDED, EndpointView, EndpointsQuery, EventsQuery, Failure, FlowFilter,
        FlowFindings, FlowSnapshot, FlowsRemoved, GcRequest, NetworkView, ProcessReport,
        PruneRequest, Pruned, PublishRequest, Published, RemoveRequest, Status, UpReply, UpRequest,
        path,
    },
    commands,
    engine::Engine,
};
use crate::kernel::{self, Look, Suspicion};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::OwnedMutexGuard, time::sleep};

/// How long after one look at all flows the next one comes.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the daemon may take to look at every flow twice; one that does not expire flows is a finding, too.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Shared = State<Arc<Daemon>>;
pub(super) type Answer<T> = Result<Json<T>, Error>;

/// Every path.
pub(super) fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route(path::UP, post(up))
        .route(path::DOWN, post(down))
        .route(path::STATUS, get(status))
        .route(path::ENDPOINTS, get(endpoints).post(create))
        .route(path::ENDPOINTS_REMOVE, post(remove))
        .route(path::ENDPOINTS_STOP, post(commands::stop))
        .route(path::ENDPOINTS_START, post(commands::start))
        .route(path::ENDPOINTS_RESTART, post(commands::restart))
        .route(path::ENDPOINTS_PROCESS, post(process))
        .route(path::NETWORKS, get(networks).post(create_network))
        .route(path::NETWORKS_REMOVE, post(remove_networks))
        .route(path::NETWORKS_PRUNE, post(prune))
        .route(path::NETWORKS_CONNECT, post(connect))
        .route(path::NETWORKS_DISCONNECT, post(disconnect))
        .route(path::PORTS_PUBLISH, post(publish))
        .route(path::PORTS_UNPUBLISH, post(unpublish))
        .route(path::EVENTS, get(events))
        .route(path::FLOWS, get(flows))
        .route(path::FLOWS_CHECK, get(check_flows))
        .route(path::FLOWS_REMOVE, post(remove_flows))
        .route(path::GC, post(gc))
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), to_the_end))
        // Who may write here is root: a long topology is no attack.
        .layer(DefaultBodyLimit::disable())
        .with_state(daemon)
}

async fn to_the_end(State(daemon): Shared, request: Request, next: Next) -> Response {
    let mut response = tokio::spawn(next.run(request)).await.unwrap_or_else(|error| {
        let message = format!("daemon: a request failed within: {error}: please report it");
        (StatusCode::INTERNAL_SERVER_ERROR, Json(Failure { message, exit: None })).into_response()
    });
    if daemon.has_ended() {
        response.headers_mut().insert(ENDED, HeaderValue::from_static("1"));
    }
    response
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status(), Json(Failure { message: self.to_string(), exit: self.exit() }))
            .into_response()
    }
}

/// The engine, for as long as one change takes.
pub(super) struct Turn {
    daemon: Arc<Daemon>,
    pub(super) engine: OwnedMutexGuard<Engine>,
}

impl Turn {
    /// Waits for the changes before.
    pub(super) async fn take(daemon: &Arc<Daemon>) -> Result<Self, Error> {
        let engine = Arc::clone(&daemon.engine).lock_owned().await;
        if engine.ended() {
            return Err(Error::Ending);
        }
        Ok(Self { daemon: Arc::clone(daemon), engine })
    }

    /// Takes the instance down when nothing is left of it, whether the change succeeded or not; lets
    /// others see what there is now. Answers with what was done besides.
    pub(super) async fn end<T>(
        mut self,
        done: Result<T, Error>,
    ) -> Result<(T, Vec<String>), Error> {
        let changes = self.engine.end_if_empty().await;
        self.daemon.publish(&self.engine);
        Ok((done?, changes?))
    }

    /// After a question: nothing was done, and nothing is taken down.
    fn end_unused(mut self) {
        self.engine.end_unused();
        self.daemon.publish(&self.engine);
    }

    pub(super) async fn end_changes(self, done: Result<Vec<String>, Error>) -> Answer<Changes> {
        let (mut changes, more) = self.end(done).await?;
        changes.extend(more);
        Ok(Json(Changes { changes }))
    }
}

async fn up(State(daemon): Shared, Json(request): Json<UpRequest>) -> Answer<UpReply> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.up(&request).await;
    if request.dry_run {
        turn.end_unused();
        return Ok(Json(done?));
    }
    Ok(Json(turn.end(done).await?.0))
}

async fn down(State(daemon): Shared, Json(request): Json<DownRequest>) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.down(&request).await;
    turn.end_changes(done).await
}

async fn status(State(daemon): Shared) -> Answer<Status> {
    let mut turn = Turn::take(&daemon).await?;
    Ok(Json(turn.engine.status().await?))
}

async fn endpoints(
    State(daemon): Shared,
    Query(query): Query<EndpointsQuery>,
) -> Json<Vec<EndpointView>> {
    Json(daemon.snapshot().endpoints(query.like.as_deref()))
}

async fn create(State(daemon): Shared, Json(request): Json<CreateRequest>) -> Answer<EndpointView> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.create(&request).await;
    Ok(Json(turn.end(done).await?.0))
}

async fn remove(State(daemon): Shared, Json(request): Json<RemoveRequest>) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.remove(&request.names, request.force).await;
    turn.end_changes(done).await
}

async fn process(State(daemon): Shared, Json(report): Json<ProcessReport>) -> Answer<Changes> {
    if let Some(code) = report.exit {
        daemon.codes.tell(report.pid, code);
    }
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.process_reported(&report.endpoint, report.pid, report.exit).await;
    let (_, changes) = turn.end(done).await?;
    Ok(Json(Changes { changes }))
}

async fn networks(State(daemon): Shared) -> Answer<Vec<NetworkView>> {
    let routes = kernel::host_routes().await?;
    Ok(Json(daemon.snapshot().networks(routes)))
}

async fn create_network(
    State(daemon): Shared,
    Json(request): Json<CreateNetworkRequest>,
) -> Answer<NetworkView> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.create_network(&request.network).await;
    Ok(Json(turn.end(done).await?.0))
}

async fn remove_networks(
    State(daemon): Shared,
    Json(request): Json<RemoveRequest>,
) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.remove_networks(&request.names).await;
    turn.end_changes(done).await
}

async fn prune(State(daemon): Shared, Json(request): Json<PruneRequest>) -> Answer<Pruned> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.prune(&request).await;
    Ok(Json(turn.end(done).await?.0))
}

async fn connect(State(daemon): Shared, Json(request): Json<ConnectRequest>) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.connect(&request).await;
    turn.end_changes(done).await
}

async fn disconnect(
    State(daemon): Shared,
    Json(request): Json<DisconnectRequest>,
) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.disconnect(&request).await;
    turn.end_changes(done).await
}

async fn publish(State(daemon): Shared, Json(request): Json<PublishRequest>) -> Answer<Published> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.publish(&request).await;
    Ok(Json(turn.end(done).await?.0))
}

async fn unpublish(State(daemon): Shared, Json(request): Json<PublishRequest>) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.unpublish(&request).await;
    turn.end_changes(done).await
}

/// Ends with the daemon, or for a reader that is too far behind, who asks again from where it was.
async fn events(State(daemon): Shared, Query(query): Query<EventsQuery>) -> Body {
    let (recent, coming) = daemon.events.since(query.since);
    let ended = daemon.ended.subscribe();
    let coming = stream::unfold((coming, ended), |(mut coming, mut ended)| async {
        let event = tokio::select! {
            biased;
            event = coming.recv() => event.ok()?,
            _ = ended.wait_for(|ended| *ended) => return None,
        };
        Some((event, (coming, ended)))
    });
    let take = if query.follow { usize::MAX } else { 0 };
    let lines = stream::iter(recent).chain(coming.take(take)).map(|event| {
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(line)
    });
    Body::from_stream(lines)
}

async fn flows(State(daemon): Shared) -> Answer<Vec<FlowSnapshot>> {
    let turn = Turn::take(&daemon).await?;
    Ok(Json(turn.engine.flows().await?))
}

async fn remove_flows(
    State(daemon): Shared,
    Json(filter): Json<FlowFilter>,
) -> Answer<FlowsRemoved> {
    let mut turn = Turn::take(&daemon).await?;
    Ok(Json(FlowsRemoved { removed: turn.engine.remove_flows(&filter).await? }))
}

/// Looks until what is suspected was dispelled or stayed. Programs are done with a flow when the next look comes; a
/// flow whose endpoint is gone has until the daemon has looked at every flow twice.
async fn check_flows(State(daemon): Shared) -> Answer<FlowFindings> {
    let look = async || Turn::take(&daemon).await?.engine.look_at_flows();
    let Look { mut suspicions, passes } = look().await?;
    let first = Instant::now();
    while !suspicions.is_empty() {
        sleep(AGAIN).await;
        let now = look().await?;
        suspicions.retain(|suspicion| now.suspicions.contains(suspicion));
        let waits = |suspicion: &Suspicion| matches!(suspicion, Suspicion::Orphan { .. });
        let passed = now.passes >= passes + 2 || first.elapsed() > PATIENCE;
        if passed || !suspicions.iter().any(waits) {
            break;
        }
    }
    let mut findings: Vec<_> = suspicions.iter().map(ToString::to_string).collect();
    findings.sort();
    Ok(Json(FlowFindings { findings }))
}

async fn gc(State(daemon): Shared, Json(request): Json<GcRequest>) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.collect(request.dry_run).await;
    if request.dry_run {
        turn.end_unused();
        return Ok(Json(Changes { changes: done? }));
    }
    turn.end_changes(done).await
}
