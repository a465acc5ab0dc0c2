//! What must not compile, each beside its nearest neighbour that does.
//!
//! The types of this crate promise that borrows outlive whatever uses them, that scopes are entered
//! once, and that parallel tasks own what they have. A change that gives up one of these promises
//! still compiles and still passes every test that runs; it fails here. The neighbour shows that it
//! is the promise that fails, and not something else in the program.
//!
//! # A borrowing task outlives the body, so it cannot borrow from it
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! run(group(async |g| {
//!     let local = String::from("dropped with the body");
//!     let borrowed = &local;
//!     g.spawn_local(async move { Ok(borrowed.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let outside = String::from("outlives the group");
//! run(group(async |g| {
//!     let borrowed = &outside;
//!     g.spawn_local(async move { Ok(borrowed.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! # A group does not outlive what its tasks borrow
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let escaped = {
//!     let local = String::from("dropped too soon");
//!     run(group(async |g| {
//!         g.spawn_local(async { Ok(local.len()) });
//!         Ok(g)
//!     }))
//!     .unwrap()
//! };
//! assert!(escaped.is_empty());
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let outside = String::from("outlives the handle");
//! let escaped = {
//!     run(group(async |g| {
//!         g.spawn_local(async { Ok(outside.len()) });
//!         Ok(g)
//!     }))
//!     .unwrap()
//! };
//! assert!(escaped.is_empty());
//! ```
//!
//! # Nor does the future of a group
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let pending = {
//!     let local = String::from("dropped too soon");
//!     let borrowed = &local;
//!     group(async move |g| {
//!         g.spawn_local(async move { Ok(borrowed.len()) });
//!         Ok(())
//!     })
//! };
//! run(pending).unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let outside = String::from("outlives the group");
//! let pending = {
//!     let borrowed = &outside;
//!     group(async move |g| {
//!         g.spawn_local(async move { Ok(borrowed.len()) });
//!         Ok(())
//!     })
//! };
//! run(pending).unwrap();
//! ```
//!
//! # A value that borrows does not leave through a handle
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let task = {
//!     let local = String::from("dropped too soon");
//!     let borrowed = &local;
//!     run(group(async move |g| Ok(g.spawn_local(async move { Ok(borrowed.as_str()) })))).unwrap()
//! };
//! assert_eq!(run(task).unwrap(), "dropped too soon");
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let outside = String::from("outlives the handle");
//! let task = {
//!     let borrowed = &outside;
//!     run(group(async move |g| Ok(g.spawn_local(async move { Ok(borrowed.as_str()) })))).unwrap()
//! };
//! assert_eq!(run(task).unwrap(), "outlives the handle");
//! ```
//!
//! # A parallel task borrows nothing
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let page = String::from("one two three");
//! let borrowed = &page;
//! run(group(async |g| {
//!     g.spawn(async move { Ok(borrowed.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let page = String::from("one two three");
//! let owned = page.clone();
//! run(group(async |g| {
//!     g.spawn(async move { Ok(owned.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! # Nor does a deferred finalizer, which may outlive the group's future
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let page = String::from("one two three");
//! let borrowed = &page;
//! run(group(async |g| {
//!     g.defer(async move { drop(borrowed.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let page = String::from("one two three");
//! run(group(async |g| {
//!     g.defer(async move { drop(page) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! # Nor does one that is started, or spawned from elsewhere
//!
//! ```compile_fail,E0597
//! # use headcount::{Ready, group, run};
//! let page = String::from("one two three");
//! let borrowed = &page;
//! run(group(async |g| {
//!     g.start(|ready: Ready<usize>| async move {
//!         ready.send(borrowed.len());
//!         Ok(())
//!     })
//!     .await?;
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```compile_fail,E0597
//! # use headcount::{group, run};
//! let page = String::from("one two three");
//! let borrowed = &page;
//! run(group(async |g| {
//!     g.spawner().spawn(async move { Ok(borrowed.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{Ready, group, run};
//! let page: &'static str = "one two three";
//! run(group(async |g| {
//!     g.start(|ready: Ready<usize>| async move {
//!         ready.send(page.len());
//!         Ok(())
//!     })
//!     .await?;
//!     g.spawner().spawn(async move { Ok(page.len()) });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! # Two borrowing tasks do not mutate one variable
//!
//! ```compile_fail,E0499
//! # use headcount::{group, run};
//! let mut hits = 0;
//! run(group(async |g| {
//!     g.spawn_local(async {
//!         hits += 1;
//!         Ok(())
//!     });
//!     g.spawn_local(async {
//!         hits += 1;
//!         Ok(())
//!     });
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let (mut hits, mut misses) = (0, 0);
//! run(group(async |g| {
//!     g.spawn_local(async {
//!         hits += 1;
//!         Ok(())
//!     });
//!     g.spawn_local(async {
//!         misses += 1;
//!         Ok(())
//!     });
//!     Ok(())
//! }))
//! .unwrap();
//! assert_eq!((hits, misses), (1, 1));
//! ```
//!
//! # What a borrowing task mutates is read after the group, not in its body
//!
//! ```compile_fail,E0502
//! # use headcount::{group, run};
//! let mut hits = 0;
//! run(group(async |g| {
//!     g.spawn_local(async {
//!         hits += 1;
//!         Ok(())
//!     });
//!     assert_eq!(hits, 0);
//!     Ok(())
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{group, run};
//! let mut hits = 0;
//! run(group(async |g| {
//!     g.spawn_local(async {
//!         hits += 1;
//!         Ok(())
//!     });
//!     Ok(())
//! }))
//! .unwrap();
//! assert_eq!(hits, 1);
//! ```
//!
//! # A scope is entered once
//!
//! Entering it again, or from two tasks at once, cannot be written down.
//!
//! ```compile_fail,E0382
//! # use headcount::{CancelScope, run};
//! let scope = CancelScope::new();
//! run(async {
//!     scope.run(async {}).await.unwrap();
//!     scope.run(async {}).await.unwrap();
//! });
//! ```
//!
//! ```
//! # use headcount::{CancelScope, run};
//! let (first, second) = (CancelScope::new(), CancelScope::new());
//! run(async {
//!     first.run(async {}).await.unwrap();
//!     second.run(async {}).await.unwrap();
//! });
//! ```
//!
//! # A task reports once that it is ready
//!
//! ```compile_fail,E0382
//! # use headcount::{Ready, group, run};
//! run(group(async |g| {
//!     let port = g.start(|ready: Ready<u16>| async move {
//!         ready.send(80);
//!         ready.send(81);
//!         Ok(())
//!     });
//!     Ok(port.await?)
//! }))
//! .unwrap();
//! ```
//!
//! ```
//! # use headcount::{Ready, group, run};
//! run(group(async |g| {
//!     let port = g.start(|ready: Ready<u16>| async move {
//!         ready.send(80);
//!         Ok(())
//!     });
//!     Ok(port.await?)
//! }))
//! .unwrap();
//! ```
//!
//! # Body and cleanup of a finalizer do not both hold a mutable borrow
//!
//! Both exist at the same time, although they do not run at the same time; that is what brackets
//! are for.
//!
//! ```compile_fail,E0499
//! # use headcount::{finally, run};
//! let mut log = Vec::new();
//! run(finally(async { log.push("body") }, async { log.push("cleanup") }));
//! ```
//!
//! ```
//! # use headcount::{bracket, run};
//! let log = Vec::new();
//! run(bracket(
//!     log,
//!     async |log: &mut Vec<_>| log.push("body"),
//!     async |mut log: Vec<_>| log.push("cleanup"),
//! ));
//! ```
