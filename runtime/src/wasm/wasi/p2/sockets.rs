//! Owns `wasi:sockets`: present, so that programs which mention sockets link, and refused. What a component imports
//! of it is read off the component itself: a function whose result can be an error answers `access-denied`, the
//! network handle is given out, and everything else would need a socket, of which there is none.

use wasmtime::AsContextMut as _;
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};

use super::super::Host;
use super::super::calls::number_of;
use super::types::{Network, Socket};
use super::{Misuse, gate};

const PACKAGE: &str = "wasi:sockets/";
const DENIED: &str = "access-denied";

pub(super) fn link(linker: &mut Linker<Host>, component: &Component) -> wasmtime::Result<()> {
    let compiler = linker.engine().clone();
    let number = number_of("wasi:sockets", "*")?;
    // Interfaces use each other's resources under the same names; the one that comes first is the owner.
    let mut owned: Vec<ResourceType> = Vec::new();
    for (name, item) in component.component_type().imports(&compiler) {
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        let mut sockets = name.starts_with(PACKAGE).then(|| linker.instance(name)).transpose()?;
        for (export, item) in interface.exports(&compiler) {
            match (item.ty, &mut sockets) {
                (ComponentItem::Resource(ty), _) if owned.contains(&ty) => {}
                (ComponentItem::Resource(ty), sockets) => {
                    owned.push(ty);
                    if let Some(instance) = sockets {
                        resource(instance, number, export)?;
                    }
                }
                (ComponentItem::ComponentFunc(_), Some(instance)) => {
                    function(instance, number, name, export)?
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource(instance: &mut LinkerInstance<'_, Host>, number: u32, name: &str) -> wasmtime::Result<()> {
    if name == "network" {
        return instance.resource(name, ResourceType::host::<Network>(), move |store, rep| {
            gate(store, number, (rep,), |host, (rep,)| host.forget(Resource::<Network>::new_own(rep)))
        });
    }
    instance.resource(name, ResourceType::host::<Socket>(), |_, _| {
        Err(wasmtime::Error::new(Misuse("a socket was dropped that never was")))
    })
}

fn function(
    instance: &mut LinkerInstance<'_, Host>,
    number: u32,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    let called = format!("{interface}#{name}");
    instance.func_new(name, move |mut store: StoreContextMut<'_, Host>, ty, arguments, results| {
        // A borrowed handle must be given back before the call ends.
        for argument in arguments {
            if let Val::Resource(handle) = argument {
                handle.resource_drop(&mut store)?;
            }
        }
        let answer = answer(&ty);
        let spoken = (called.clone(), format!("{answer:?}"));
        let network = gate(store.as_context_mut(), number, spoken, |host, _| match answer {
            Answer::Network => Ok(Some(host.resources.push(Network)?.rep())),
            Answer::Denied => Ok(None),
            Answer::Impossible => Err(wasmtime::Error::new(Misuse("a call on a socket that never was"))),
        })?;
        results[0] = match network {
            Some(rep) => {
                let handle = Resource::<Network>::new_own(rep);
                Val::Resource(ResourceAny::try_from_resource(handle, &mut store)?)
            }
            None => Val::Result(Err(Some(Box::new(Val::Enum(DENIED.to_owned()))))),
        };
        Ok(())
    })
}

#[derive(Debug)]
enum Answer {
    Network,
    Denied,
    Impossible,
}

/// What a function of this type can say without a network.
fn answer(ty: &ComponentFunc) -> Answer {
    let mut results = ty.results();
    match (results.next(), results.next()) {
        (Some(Type::Result(result)), None) => match result.err() {
            Some(Type::Enum(codes)) if codes.names().any(|name| name == DENIED) => Answer::Denied,
            _ => Answer::Impossible,
        },
        (Some(Type::Own(resource)), None) if resource == ResourceType::host::<Network>() => Answer::Network,
        _ => Answer::Impossible,
    }
}
