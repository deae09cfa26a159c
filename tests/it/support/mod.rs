//! The language the black-box tests are written in.

pub mod backend;
pub mod certificates;
pub mod connection;
pub mod echo;
pub mod fleet;
pub mod frame;
pub mod log;
pub mod metrics;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod request;
pub mod setup;
pub mod swarm;
pub mod wait;
pub mod websocket;

pub use backend::Backend;
pub use connection::{Answer, Connection};
pub use echo::Echo;
pub use fleet::Fleet;
pub use proxy::Tidegate;
pub use request::Request;
pub use setup::Setup;
