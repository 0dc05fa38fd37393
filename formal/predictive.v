(* Chapter 7: what candidates tell about evaluation labels. EPIG, JEPIG, BAIT.

   P is the posterior precision, FA and FE are Fisher informations of the candidates and
   of the evaluation set, A and E roots of them: FA = A' A, FE = E' E. As in `gain.v` a
   difference of log-determinants is here a product of determinants on either side. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Formal Require Import determinants gain.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Predictive.
Variable Num : comUnitRingType.

(* T26, T27: EIG(E) - EIG(E given A) = EIG(A) - EIG(A given E). The left side is T26:
   maximising it over A is minimising what E would still tell, as EIG(E) does not depend
   on A. The right side is JEPIG as a difference of two EIGs of A, under P and under
   P + FE. *)
Lemma information_is_symmetric d (P FA FE : 'M[Num]_d) :
  P \in unitmx -> P + FA \in unitmx -> P + FE \in unitmx ->
  \det (I + FE *m inv P) * \det (I + FA *m inv (P + FE))
    = \det (I + FA *m inv P) * \det (I + FE *m inv (P + FA)).
Proof.
move=> uP uA uE; have uD : \det P \is a GRing.unit by rewrite -unitmxE.
by apply: (mulrI uD); rewrite !mulrA -!gain_as_ratio // addrAC.
Qed.

(* T27: JEPIG without a difference of two Gram matrices: what E takes from A's Gram
   matrix is C (I + E P^-1 E')^-1 C' with the cross term C = A P^-1 E'. *)
Lemma gram_difference m n d (P : 'M[Num]_d) (A : 'M[Num]_(m, d)) (E : 'M[Num]_(n, d)) :
  P \in unitmx -> I + E *m inv P *m E^T \in unitmx ->
  let C := A *m inv P *m E^T in
  let C' := E *m inv P *m A^T in
  A *m inv P *m A^T - A *m inv (P + E^T *m E) *m A^T
    = C *m inv (I + E *m inv P *m E^T) *m C'.
Proof.
move=> uP uE /=; rewrite woodbury // mulmxBr mulmxBl opprB addrCA subrr addr0.
by rewrite !mulmxA.
Qed.

(* T27: hence JEPIG as one determinant: det(I + G_P) / det(I + G_Q), Q = P + E' E, is
   det(I + (I + G_Q)^-1 K) with K = the product above. *)
Lemma jepig_cross_form m n d (P : 'M[Num]_d) (A : 'M[Num]_(m, d))
    (E : 'M[Num]_(n, d)) :
  let G_Q := A *m inv (P + E^T *m E) *m A^T in
  P \in unitmx -> I + E *m inv P *m E^T \in unitmx -> I + G_Q \in unitmx ->
  let C := A *m inv P *m E^T in
  let C' := E *m inv P *m A^T in
  \det (I + A *m inv P *m A^T)
    = \det (I + G_Q)
      * \det (I + inv (I + G_Q) *m (C *m inv (I + E *m inv P *m E^T) *m C')).
Proof.
move=> G_Q uP uE uG C C'; rewrite -gram_difference // -det_mulmx; congr (\det _).
by rewrite mulmxDr mulmx1 mulKVmx // -/G_Q -addrA [G_Q + _]addrC subrK.
Qed.

(* T28: the trace form is linear: n times the Fisher information, n times the trace. *)
Lemma trace_is_proportional d n (F Q : 'M[Num]_d) :
  \tr ((n%:R *: F) *m inv Q) = n%:R * \tr (F *m inv Q).
Proof. by rewrite -scalemxAl mxtraceZ. Qed.

(* T28: in Bayesian linear regression it is the variance of the noise-free output. *)
Lemma trace_is_variance d (Q : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  \tr ((s2^-1 *: (x *m x^T)) *m inv Q) = s2^-1 * quad (inv Q) x.
Proof.
rewrite -scalemxAl mxtraceZ -mulmxA mxtrace_mulC /quad /number.
by rewrite [X in \tr X]mx11_scalar mxtrace_scalar.
Qed.

(* T28: BAIT's forward step: a candidate with root V lowers the trace by this. *)
Lemma bait_forward r d (F M : 'M[Num]_d) (V : 'M[Num]_(r, d)) :
  M \in unitmx -> I + V *m inv M *m V^T \in unitmx ->
  \tr (F *m inv M) - \tr (F *m inv (M + V^T *m V))
    = \tr (V *m inv M *m F *m inv M *m V^T *m inv (I + V *m inv M *m V^T)).
Proof.
move=> uM uC; rewrite woodbury // mulmxBr linearB /= opprB addrCA subrr addr0.
rewrite -[X in F *m X]mulmxA mxtrace_mulC -[X in \tr X = _]mulmxA mxtrace_mulC.
by rewrite !mulmxA.
Qed.

(* T28: BAIT's backward step: taking V back raises the trace. *)
Lemma bait_backward r d (F M : 'M[Num]_d) (V : 'M[Num]_(r, d)) :
  M \in unitmx -> I - V *m inv M *m V^T \in unitmx ->
  \tr (F *m inv (M - V^T *m V)) - \tr (F *m inv M)
    = \tr (V *m inv M *m F *m inv M *m V^T *m inv (I - V *m inv M *m V^T)).
Proof.
rewrite -[- (V^T *m V)]mulNmx -[- (_ *m V^T)]mulmxN => uM uC.
rewrite woodbury // mulmxBr linearB /= addrAC subrr add0r !(mulmxN, mulNmx) linearN /=.
rewrite opprK -[X in F *m X]mulmxA mxtrace_mulC -[X in \tr X = _]mulmxA mxtrace_mulC.
by rewrite !mulmxA.
Qed.

(* T29: targets with noise e. E of T26's four determinants, from the covariance of the
   noise-free targets: det(e I + X S X') = e^n det(I + FE S) with FE = X' X / e. *)
Lemma noisy_targets n d (P : 'M[Num]_d) (X : 'M[Num]_(n, d)) (e : Num) :
  e \is a GRing.unit ->
  \det (e%:M + X *m inv P *m X^T)
    = e ^+ n * \det (I + (e^-1 *: (X^T *m X)) *m inv P).
Proof.
move=> ue; rewrite batch_gain_is_exact -determinant_scaled scalerDr scalerA divrr //.
by rewrite scale1r scalemx1.
Qed.

(* T29: JEPIG from the targets' covariances before, P, and after the label, Q. *)
Lemma jepig_of_targets n d (P Q : 'M[Num]_d) (X : 'M[Num]_(n, d)) (e : Num) :
  e \is a GRing.unit ->
  let FE := e^-1 *: (X^T *m X) in
  \det (e%:M + X *m inv P *m X^T) * \det (I + FE *m inv Q)
    = \det (e%:M + X *m inv Q *m X^T) * \det (I + FE *m inv P).
Proof. by move=> ue /=; rewrite !noisy_targets // mulrAC. Qed.

(* T41: MacKay's gain about the output at u: its variance after a label at x. *)
Lemma output_variance_after d (S : 'M[Num]_d) (x u : 'cV[Num]_d) (s2 : Num) :
  S \in unitmx -> s2 \is a GRing.unit -> s2 + quad S x \is a GRing.unit ->
  quad (inv (inv S + s2^-1 *: (x *m x^T))) u
    = quad S u
      - (s2 + quad S x)^-1 * (number (u^T *m S *m x) * number (x^T *m S *m u)).
Proof.
move=> uS us uw; rewrite covariance_update // /quad -number_of_product.
by rewrite -number_of_difference mulmxBr mulmxBl -scalemxAr -scalemxAl !mulmxA.
Qed.
End Predictive.
