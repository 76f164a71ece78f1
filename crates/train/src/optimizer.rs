//! AdamW (Loshchilov & Hutter 2019) or Muon (Jordan et al. 2024) over a parameter store, its schedule, clipping, and the
//! router's bias.

use crate::recipe::{Decay, Optimizer as Settings, Rule};
use picnic_model::ops::{AdamW, Muon};
use picnic_model::{Backend, Grads, Model, Ops, OutOfMemory, ParamStore, Role};

/// The moments of every trainable tensor.
pub struct Optimizer {
    /// By tensor: the first moment and, where AdamW moves it, the second; none for a frozen one.
    moments: Vec<Vec<<Backend as Ops>::Buffer>>,
    /// What Muon works in, one for each thread.
    workspaces: Vec<<Backend as Ops>::Buffer>,
    /// Steps taken.
    pub step: u64,
}

impl Optimizer {
    /// Moments of zero.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(ops: &Backend, params: &ParamStore<Backend>, rule: Rule) -> Result<Optimizer, OutOfMemory> {
        let zeros = |n| ops.zeros(n).map_err(|e| e.during("the optimizer's moments"));
        let mut largest = None;
        let moments = params.iter().map(|p| {
            let Some(value) = p.learning().filter(|_| p.trainable) else { return Ok(Vec::new()) };
            let orthogonal =
                p.spec.product().filter(|_| rule == Rule::Muon && matches!(p.spec.role, Role::Linear | Role::Router));
            largest = largest.max(orthogonal.map(|dims| ops.muon_workspace(dims)));
            (0..if orthogonal.is_some() { 1 } else { 2 }).map(|_| zeros(ops.len(value))).collect()
        });
        let moments = moments.collect::<Result<_, OutOfMemory>>()?;
        let workspaces =
            (0..ops.parallelism()).filter_map(|_| largest.map(zeros)).collect::<Result<_, OutOfMemory>>()?;
        Ok(Optimizer { moments, workspaces, step: 0 })
    }

    /// One step at learning rate `lr`. The gradient is scaled so that its norm is at most `clip`; returns the norm
    /// before. Nothing changes if that is no finite number.
    pub fn step(
        &mut self,
        ops: &Backend,
        params: &mut ParamStore<Backend>,
        grads: &Grads<Backend>,
        settings: &Settings,
        lr: f64,
    ) -> f64 {
        let norm = grads.norm(ops);
        if !norm.is_finite() {
            return norm;
        }
        self.step += 1;
        let Settings { momentum, beta1, beta2, eps, weight_decay, clip, .. } = *settings;
        // torch.nn.utils.clip_grad_norm_ adds the same 1e-6.
        let grad_scale = (clip / (norm + 1e-6)).min(1.0) as f32;
        let step = self.step;
        // A few products of small matrices for each weight: threads take whole weights.
        let mut weights = Vec::new();
        let mut moments: Vec<&mut [_]> = self.moments.iter_mut().map(|moments| &mut moments[..]).collect();
        for (id, spec, value) in params.learning_mut() {
            let Some(grad) = grads.get(id) else { continue };
            let decays = settings.decay_norms_and_biases || !matches!(spec.role, Role::Norm | Role::Bias);
            let weight_decay = if decays { weight_decay } else { 0.0 };
            match std::mem::take(&mut moments[id.0]) {
                [m, v] => {
                    let config = AdamW { lr, beta1, beta2, eps, weight_decay, step };
                    ops.adamw(&config, grad_scale, grad, value, m, v);
                }
                [m] => weights.extend(spec.product().map(|dims| (dims, grad, value, m))),
                _ => {}
            }
        }
        let share = weights.len().div_ceil(self.workspaces.len().max(1)).max(1);
        let mut shares = Vec::new();
        for workspace in &mut self.workspaces {
            shares.push((weights.split_off(weights.len().saturating_sub(share)), workspace));
        }
        ops.in_parallel(shares, |(weights, workspace), ops| {
            for (dims, grad, value, m) in weights {
                ops.muon(&Muon { lr, momentum, weight_decay }, grad_scale, grad, value, m, dims, workspace);
            }
        });
        norm
    }

    /// The moments, by tensor.
    pub fn moments(&self) -> &[Vec<<Backend as Ops>::Buffer>] {
        &self.moments
    }

    /// The moments, to be overwritten by those of a checkpoint.
    pub fn moments_mut(&mut self) -> &mut [Vec<<Backend as Ops>::Buffer>] {
        &mut self.moments
    }
}

/// The learning rate of step `step` (from 0) of `steps`: a linear rise over the warm-up, then the decay to its final
/// share.
pub fn learning_rate(settings: &Settings, step: u64, steps: u64) -> f64 {
    let Settings { lr, final_lr_ratio, .. } = *settings;
    let (warmup_steps, final_lr) = (settings.warmup_steps as u64, lr * final_lr_ratio);
    if step < warmup_steps {
        return lr * (step + 1) as f64 / warmup_steps as f64;
    }
    let done = (step - warmup_steps) as f64 / (steps.saturating_sub(warmup_steps)).max(1) as f64;
    let done = done.min(1.0);
    match settings.decay {
        Decay::Constant => lr,
        Decay::Linear => lr + (final_lr - lr) * done,
        Decay::Cosine => final_lr + (lr - final_lr) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done)),
    }
}

/// Balance without an auxiliary loss (DeepSeek-V3, section 2.1.2): the selection bias of an expert with less than the
/// mean load rises by `speed`, that of one with more falls.
pub fn move_router_biases(
    ops: &Backend,
    model: &Model,
    params: &mut ParamStore<Backend>,
    expert_counts: &[Vec<u64>],
    speed: f32,
) {
    if speed == 0.0 {
        return;
    }
    for (id, counts) in model.router_biases().into_iter().zip(expert_counts) {
        let total: u64 = counts.iter().sum();
        params.update_one(id, |_, bias| {
            let mut values = ops.download(bias);
            for (b, &count) in values.iter_mut().zip(counts) {
                *b += match (count * counts.len() as u64).cmp(&total) {
                    std::cmp::Ordering::Less => speed,
                    std::cmp::Ordering::Equal => 0.0,
                    std::cmp::Ordering::Greater => -speed,
                };
            }
            ops.write(bias, &values);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Recipe, Sft};
    use picnic_model::{ParamSpec, Source};

    /// What a step of lr·decay = 0.01 leaves of ones of every role, under gradients so small that Adam's ε swallows them.
    fn left_after_a_step(overrides: &[&str]) -> Vec<f32> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/smoke/sft.toml");
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let settings = Recipe::<Sft>::load(&root, &overrides).unwrap().stage.optimizer;
        let ops = Backend::with_threads(1).unwrap();
        let roles = [Role::Linear, Role::Embedding, Role::Norm, Role::Bias].map(|role| ParamSpec {
            name: format!("{role:?}"),
            shape: if matches!(role, Role::Norm | Role::Bias) { vec![2] } else { vec![1, 2] },
            role,
        });
        let ones = |spec: &ParamSpec| Ok::<_, OutOfMemory>(Source::Values(vec![1.0; spec.len()]));
        let mut params = ParamStore::new(&ops, roles.to_vec(), true, ones).unwrap();
        let mut grads = Grads::new(&ops, &params).unwrap();
        for p in params.iter() {
            let grad = grads.get_mut(p.id).unwrap();
            let tiny = vec![1e-20; ops.len(grad)];
            ops.write(grad, &tiny);
        }
        let mut optimizer = Optimizer::new(&ops, &params, Rule::AdamW).unwrap();
        optimizer.step(&ops, &mut params, &grads, &settings, 1e-3);
        params.iter().map(|p| p.to_rows(&ops)[0]).collect()
    }

    #[test]
    fn muon_moves_the_weights_of_the_layers_alone() {
        let ops = Backend::with_threads(2).unwrap();
        let spec = |name: &str, role| ParamSpec { name: name.into(), shape: vec![2, 3], role };
        let norm = ParamSpec { name: "model.norm.weight".into(), shape: vec![3], role: Role::Norm };
        let specs = vec![
            spec("model.embed_tokens.weight", Role::Embedding),
            spec("model.layers.0.mlp.up_proj.weight", Role::Linear),
            norm,
            spec("lm_head.weight", Role::Head),
            spec("tied", Role::TiedEmbedding),
        ];
        let zeros = |spec: &ParamSpec| Ok::<_, OutOfMemory>(Source::Values(vec![0.0; spec.len()]));
        let params = ParamStore::new(&ops, specs, true, zeros).unwrap();
        let moments = |rule| -> Vec<usize> {
            Optimizer::new(&ops, &params, rule).unwrap().moments().iter().map(Vec::len).collect()
        };
        assert_eq!((moments(Rule::Muon), moments(Rule::AdamW)), (vec![2, 1, 2, 2, 2], vec![2; 5]));
    }

    #[test]
    fn decay_leaves_norms_and_biases_alone() {
        let decay = "optimizer.weight_decay=10";
        assert_eq!(left_after_a_step(&[decay]), [0.99, 0.99, 1.0, 1.0]);
        assert_eq!(left_after_a_step(&[decay, "optimizer.decay_norms_and_biases=true"]), [0.99; 4]);
    }
}
