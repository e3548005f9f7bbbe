//! What every verb gets: the settings, the voice, and the way to the coordinator.

use std::time::Duration;

use crate::{
    client::Client,
    config::Settings,
    failure::Failure,
    globals::Globals,
    output::{Output, words},
};

/// What every verb gets.
#[derive(Debug)]
pub struct Context {
    /// The settings.
    pub settings: Settings,
    /// The voice.
    pub out: Output,
}

impl Context {
    /// Gathers it all, and sets when to colour.
    ///
    /// # Errors
    /// Where a configuration file can't be used.
    pub fn new(globals: &Globals) -> Result<Self, Failure> {
        let settings = Settings::gather(globals)?;
        match settings.color {
            // `NO_COLOR`, `CLICOLOR_FORCE` and `TERM=dumb` are asked.
            clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let out = Output::new(settings.format);
        Ok(Self { settings, out })
    }

    /// Dials the coordinator.
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.settings).await
    }

    /// Waits no longer than `--timeout` says.
    ///
    /// # Errors
    /// [`Failure::WaitOver`], or what the work failed with.
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.settings.timeout {
            None => work.await,
            Some(span) => tokio::time::timeout(span, work)
                .await
                .unwrap_or_else(|_| Err(wait_over(span))),
        }
    }
}

/// The wait is over.
pub fn wait_over(span: Duration) -> Failure {
    Failure::WaitOver {
        waited: words::span(span),
        next: None,
    }
}
