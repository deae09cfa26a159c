//! The language the black-box tests are written in.

pub mod backend;
pub mod certificates;
pub mod connection;
pub mod crowd;
pub mod digest;
pub mod echo;
pub mod fleet;
pub mod flow;
pub mod frame;
pub mod log;
pub mod metrics;
pub mod openssl;
pub mod page;
pub mod peers;
pub mod process;
pub mod program;
pub mod proxy;
pub mod puppet;
pub mod request;
pub mod rest;
pub mod setup;
pub mod stage;
pub mod swarm;
pub mod wait;
pub mod websocket;

pub use backend::Backend;
pub use connection::{Answer, Connection};
pub use echo::Echo;
pub use fleet::Fleet;
pub use page::Page;
pub use proxy::Tidegate;
pub use puppet::Puppet;
pub use request::Request;
pub use rest::Rest;
pub use setup::Setup;
pub use stage::Stage;
