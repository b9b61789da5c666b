//! `netebpf events`.

use super::{
    CliError, Context,
    client::ClientError,
    output::{Format, Template},
};
use crate::observe::{Event, EventFilter};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use std::{
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How often it is looked whether there is a daemon.
const AGAIN: Duration = Duration::from_millis(100);

/// Show what happens, a line each, as it does
#[derive(Debug, Args)]
pub(super) struct Events {
    /// type=container|network, event=ACTION, container=NAME, network=NAME, label=KEY[=VALUE]
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<EventFilter>,
    /// From then on: a time such as 2026-11-21T10:00:00Z, seconds since 1970, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Until then, likewise
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// table (a line of words), json or a template
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Events {
    /// Goes on from daemon to daemon: an instance that was taken down and comes again is the same to who watches.
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let now = Timestamp::now();
        let left = |until: Timestamp| until.duration_since(now).unsigned_abs();
        let over = self.until.is_some_and(|until| until <= now);
        let watch = pin!(self.watch(context, over));
        match self.until.filter(|_| !over).map(left) {
            Some(left) => timeout(left, watch).await.unwrap_or(Ok(()))?,
            None => watch.await?,
        }
        Ok(0)
    }

    async fn watch(&self, context: &Context, over: bool) -> Result<(), CliError> {
        let nanoseconds = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or(0);
        let mut from = nanoseconds(self.since.unwrap_or_else(Timestamp::now));
        let until = self.until.map_or(u64::MAX, nanoseconds);
        loop {
            match context.client.events(from, !over).await {
                Ok(mut events) => {
                    while let Some(event) = events.next().await? {
                        from = event.time_nano + 1;
                        if event.time_nano < until
                            && EventFilter::all_take(&self.filters, &event)
                            && !self.print(&event)?
                        {
                            return Ok(());
                        }
                    }
                }
                Err(ClientError::NoDaemon { .. } | ClientError::Ending(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if over {
                return Ok(());
            }
            sleep(AGAIN).await;
        }
    }

    /// `false` when nobody reads any more.
    fn print(&self, event: &Event) -> Result<bool, CliError> {
        let value = || serde_json::to_value(event).unwrap_or_default();
        let line = match &self.format {
            Format::Table => words(event),
            Format::Json => value().to_string(),
            Format::Template(template) => Template::render(template, &value())?,
        };
        let mut out = io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(CliError::io("standard output")(error)),
        }
    }
}

/// Docker's line: time, what, which one, and what is known of it.
fn words(event: &Event) -> String {
    let nanoseconds = i128::from(event.time_nano);
    let time = Timestamp::from_nanosecond(nanoseconds).unwrap_or_default();
    let attributes = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
    format!(
        "{time:.9} {} {} {} ({})",
        event.subject,
        event.action,
        event.actor.id,
        attributes.collect::<Vec<_>>().join(", ")
    )
}

/// A point in time, or a time ago.
fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{text:?} is no time; 2026-11-21T10:00:00Z, seconds since 1970 or a duration ago such as 10m \
             is meant"
        )
    };
    if let Ok(seconds) = text.parse::<f64>() {
        let duration = SignedDuration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        return Timestamp::from_duration(duration).map_err(|_| wrong());
    }
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_docker_takes_them() {
        assert_eq!(time("0").unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(time("1.5").unwrap().as_millisecond(), 1500);
        assert_eq!(time("1970-01-02T00:00:00Z").unwrap().as_second(), 86_400);
        let ago = Timestamp::now().duration_since(time("1h30m").unwrap());
        assert!((5399..5410).contains(&ago.as_secs()), "{ago}");
        for wrong in ["", "yesterday", "10 parsecs", "nan"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
