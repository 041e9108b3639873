//! What is sent on a shared connection, whatever it leads to.
//!
//! Invariant: none of its own.
//! Left out: whether it is sent again (`shared.rs`).

use std::sync::Arc;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisError, Value};

use super::command::{is_repeatable, name};
use super::link::Driver;

/// Where it is sent.
#[derive(Clone)]
pub(super) enum Redis {
    One(MultiplexedConnection, Arc<Driver>),
    Cluster(ClusterConnection),
}

impl Redis {
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::One(_, driver) => !driver.is_over(),
            Self::Cluster(_) => true,
        }
    }
}

/// What a caller wants sent.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    /// A pipeline of which so many replies count, after so many others.
    Packed(&'a Pipeline, usize, usize),
}

impl Ask<'_> {
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Command(cmd) => is_repeatable(cmd),
            Self::Pipeline(pipeline) | Self::Packed(pipeline, ..) => {
                pipeline.cmd_iter().all(is_repeatable)
            }
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Command(cmd) => name(cmd),
            Self::Pipeline(_) | Self::Packed(..) => "a pipeline".into(),
        }
    }

    pub(super) async fn send(&self, redis: &mut Redis) -> Result<Value, RedisError> {
        match redis {
            Redis::One(redis, _) => self.send_on(redis).await,
            Redis::Cluster(redis) => self.send_on(redis).await,
        }
    }

    async fn send_on(&self, redis: &mut (impl ConnectionLike + Send)) -> Result<Value, RedisError> {
        match *self {
            Self::Command(cmd) => redis.req_packed_command(cmd).await?.extract_error(),
            Self::Pipeline(pipeline) => pipeline.query_async(redis).await,
            Self::Packed(pipeline, offset, count) => {
                Ok(Value::Array(redis.req_packed_commands(pipeline, offset, count).await?))
            }
        }
    }
}
