//! `stop`, `start` and `restart` at the control socket.
//!
//! **Invariant**: a command may take its time to end, and no other change waits for it: there is a turn before and a
//! turn after.

use super::{
    Daemon, Error,
    api::{Changes, StartRequest, StopRequest},
    server::{Answer, Shared, Turn},
};
use crate::state::Asked;
use axum::{Json, extract::State};
use std::{sync::Arc, time::Duration};

pub(super) async fn stop(
    State(daemon): Shared,
    Json(request): Json<StopRequest>,
) -> Answer<Changes> {
    end(&daemon, &request, Asked::Stop).await?;
    Ok(Json(Changes::default()))
}

pub(super) async fn start(
    State(daemon): Shared,
    Json(request): Json<StartRequest>,
) -> Answer<Changes> {
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.start(&request.endpoint).await;
    turn.end_changes(done).await
}

pub(super) async fn restart(
    State(daemon): Shared,
    Json(request): Json<StopRequest>,
) -> Answer<Changes> {
    end(&daemon, &request, Asked::Restart).await?;
    let mut turn = Turn::take(&daemon).await?;
    let done = turn.engine.restart(&request.endpoint).await;
    turn.end_changes(done).await
}

async fn end(daemon: &Arc<Daemon>, request: &StopRequest, asked: Asked) -> Result<(), Error> {
    let mut turn = Turn::take(daemon).await?;
    let begun = turn.engine.begin_stop(&request.endpoint, asked);
    let (Some(stopping), _) = turn.end(begun).await? else { return Ok(()) };
    let exited = stopping.wait(request.timeout.map(Duration::from_secs)).await;
    let mut turn = match Turn::take(daemon).await {
        // Who watches the command saw its end first, and with the endpoint the instance went.
        Err(Error::Ending) => return Ok(()),
        turn => turn?,
    };
    let done = turn.engine.end_stop(&stopping, exited).await;
    turn.end(done).await.map(drop)
}
